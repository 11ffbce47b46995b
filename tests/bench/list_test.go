package bench

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/metaflow-deployer/metaflow-deployer/tests/dynamotest"
)

const (
	few  = 1000
	many = 1_000_000
)

// BenchmarkList reads a page of a hundred out of a thousand stored deployments and out of a million, on DynamoDB Local: what it costs must not depend on how
// many there are.
func BenchmarkList(b *testing.B) {
	client := startDynamoDB(b)

	for b.Loop() {
		const part = "list of 100, of a million stored deployments against a thousand"

		for _, p := range dynamotest.Pages(b, client, few, many) {
			results.compare(b, part, fmt.Sprintf("page %s, read capacity in %d queries", p.Where, p.Many.Queries), p.Many.Units, p.Few.Units, 1, "units")
			results.compare(b, part, fmt.Sprintf("page %s, time", p.Where), p.Many.Took.Seconds()*1000, p.Few.Took.Seconds()*1000, 0, "ms")
		}
	}
}

// startDynamoDB runs DynamoDB Local, with its records in memory, until the benchmark ends.
func startDynamoDB(b *testing.B) *dynamodb.Client {
	b.Helper()

	built := os.Getenv("METAFLOW_DEPLOYER_LOCAL")
	if built == "" {
		b.Skip("METAFLOW_DEPLOYER_LOCAL does not name what `make local-stack` makes; `make bench` sets it")
	}

	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}

	_, port, _ := net.SplitHostPort(l.Addr().String())
	endpoint := "http://127.0.0.1:" + port
	_ = l.Close() // DynamoDB Local binds it itself

	// The benchmark's own context ends before its table is dropped.
	cmd := exec.CommandContext(context.WithoutCancel(b.Context()), "java", "-Djava.library.path=libs", "-Dsqlite4java.library.path=libs", "-cp", "libs/*",
		"com.amazonaws.services.dynamodbv2.local.main.ServerRunner", "-inMemory", "-sharedDb", "-port", port)
	cmd.Dir = filepath.Join(built, "dynamodb")

	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}

	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})

	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, endpoint, nil)
		if err != nil {
			b.Fatal(err)
		}

		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()

			break
		}

		if time.Now().After(end) {
			b.Fatal("DynamoDB Local does not answer")
		}
	}

	return dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
}
