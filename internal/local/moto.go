package local

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/lambdapool"
)

// motoProgram is what the interpreter of the virtual environment runs: moto, made quicker.
//
//go:embed motoserver.py
var motoProgram string

// motoServer is the moto process.
type motoServer struct {
	url    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// startMoto starts moto on a listener, which it takes over, and waits until it answers. endpointPort is where moto's
// Step Functions engine is to call Lambda: at us.
func startMoto(ctx context.Context, opts Options, ln *net.TCPListener, endpointPort int) (*motoServer, error) {
	defer ln.Close() // moto has its own handle by then
	// moto gets the socket and not just its number: between letting go of a port and moto's taking it, somebody else could have it.
	socket, err := ln.File()
	if err != nil {
		return nil, fmt.Errorf("hand over moto's port: %w", err)
	}
	defer socket.Close()
	p := port(ln)

	// What `make` leaves when moto is installed; a test that looked at it runs anew when another moto is.
	if _, err := os.Stat(filepath.Join(opts.Venv, ".moto")); err != nil {
		return nil, fmt.Errorf("moto is not installed, `make local-stack` does it: %w", err)
	}

	executable := filepath.Join(opts.Venv, "bin", "python")
	logFile := filepath.Join(opts.State, "log", "moto.log")
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return nil, fmt.Errorf("make the log folder: %w", err)
	}
	log, err := os.Create(logFile)
	if err != nil {
		return nil, fmt.Errorf("open moto's log: %w", err)
	}
	defer log.Close() // moto has its own handle by then

	m := &motoServer{url: "http://127.0.0.1:" + strconv.Itoa(p), exited: make(chan struct{})}
	// No context: moto outlives the start.
	m.cmd = &exec.Cmd{Path: executable, Args: []string{executable, "-I", "-u", "-c", motoProgram, "-H", "127.0.0.1", "-p", strconv.Itoa(p)}}
	// Isolated (-I): nothing in the working directory may pass for a module of moto's. Nothing else of our environment: an AWS_PROFILE or an endpoint in it would mislead moto's own
	// AWS clients.
	m.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + opts.State,
		"AWS_EC2_METADATA_DISABLED=true",
		"MOTO_PORT=" + strconv.Itoa(endpointPort),
		"MOTO_IAM_LOAD_MANAGED_POLICIES=true",
		"MOTO_EC2_LOAD_DEFAULT_AMIS=false", // nobody here starts an instance
		// Where werkzeug, moto's server, finds a socket that is bound: the first of ExtraFiles. werkzeug/serving.py, run_simple.
		"WERKZEUG_RUN_MAIN=true", "WERKZEUG_SERVER_FD=3",
	}
	m.cmd.ExtraFiles = []*os.File{socket}
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = lambdapool.Leash()
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start moto: %w", err)
	}
	go func() {
		_ = m.cmd.Wait() // how it ended stands in its log
		close(m.exited)
	}()
	if err := m.ready(ctx, logFile); err != nil {
		m.stop()
		return nil, err
	}
	return m, nil
}

// ready waits for moto and switches on what is off by default: running state machines. Batch jobs
// and functions would otherwise want Docker.
func (m *motoServer) ready(ctx context.Context, logFile string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	const config = `{"stepfunctions":{"execute_state_machine":true},"batch":{"use_docker":false},"lambda":{"use_docker":false}}`
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		err := post(ctx, client, m.url+"/moto-api/config", config)
		if err == nil {
			return nil
		}
		select {
		case <-m.exited:
			return fmt.Errorf("moto ended at once:\n%s", tail(logFile))
		case <-ctx.Done():
			return fmt.Errorf("wait for moto: %w", errors.Join(context.Cause(ctx), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func post(ctx context.Context, client *http.Client, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("%s answered %s: %s", url, res.Status, text)
	}
	return nil
}

// stop kills moto, which keeps nothing, and waits for its end.
func (m *motoServer) stop() {
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL) // gone already is as good
	<-m.exited
}

// tail is the end of a log.
func tail(file string) []byte {
	data, err := os.ReadFile(file)
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], []byte("\n"))
}
