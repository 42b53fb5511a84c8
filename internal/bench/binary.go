package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// binary is the real program, running as a process of its own.
type binary struct {
	process     *os.Process
	api, ingest string // where it listens
	end         func()
}

// startBinary builds the program as the Dockerfile does and runs it with the given rules and sources: httplog,
// unless there are others.
func startBinary(ctx context.Context, rules string, sources ...string) (*binary, error) {
	dir, config, err := writeGuard("", rules, sources...)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "gatewarden")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/gatewarden")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("building the guard: %w\n%s", err, out), os.RemoveAll(dir))
	}
	cmd := exec.CommandContext(ctx, path, "run", "-c", config)
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &binary{process: cmd.Process, end: func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		_ = cmd.Wait()
		os.RemoveAll(dir)
	}}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Msg, API, Ingest string }
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Msg != "guarding" {
			fmt.Fprintln(os.Stderr, lines.Text())
			continue
		}
		b.api, b.ingest = line.API, line.Ingest
		go func() {
			for lines.Scan() {
				if json.Unmarshal(lines.Bytes(), &line) != nil {
					fmt.Fprintln(os.Stderr, lines.Text())
				}
			}
		}()
		return b, nil
	}
	b.end()
	return nil, errors.New("the guard ended before it was guarding")
}
