// Command metaflow-deployer is the command line of an installation; docs/cli.md is its manual.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/metaflow-deployer/metaflow-deployer/internal/cli"
)

// version is set by the linker.
var version = "development"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	// A second Ctrl-C ends the program at once.
	context.AfterFunc(ctx, stop)

	home, _ := os.UserHomeDir() // who has none uses METAFLOW_HOME

	config, err := os.UserConfigDir()
	if err != nil {
		config = home
	}

	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error: find the working directory:", err)

		return 1
	}

	p := &cli.Program{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Environ: os.Environ(), Home: home, ConfigDir: config, Dir: dir, Version: version,
	}

	if out := int(os.Stdout.Fd()); term.IsTerminal(out) {
		p.Asks = term.IsTerminal(int(os.Stdin.Fd()))
		p.Size = func() (width, height int) {
			width, height, err := term.GetSize(out)
			if err != nil || width <= 0 || height <= 0 {
				return 80, 24
			}

			return width, height
		}
	}

	return p.Run(ctx, os.Args[1:])
}
