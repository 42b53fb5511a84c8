package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/app"
)

// guard is the program, running inside this one on a folder of its own.
type guard struct {
	*app.App
	dir     string
	stop    context.CancelFunc
	running sync.WaitGroup
	err     error
}

// start runs a guard with the given rules that acts at the Kong of admin.
func start(ctx context.Context, admin, rules string) (*guard, error) {
	dir, config, err := writeGuard(admin, rules)
	if err != nil {
		return nil, err
	}
	g := &guard{dir: dir}
	g.App, err = app.New(ctx, app.Options{
		ConfigFile: config, Env: os.LookupEnv,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	ctx, g.stop = context.WithCancel(ctx)
	g.running.Go(func() { g.err = g.Run(ctx) })
	return g, nil
}

// writeGuard writes a guard's files into a new folder.
func writeGuard(admin, rules string, sources ...string) (dir, config string, err error) {
	if dir, err = os.MkdirTemp("", "gatewarden-bench-"); err != nil {
		return "", "", err
	}
	config = filepath.Join(dir, "gatewarden.yaml")
	text := "listen: {api: '127.0.0.1:0', ingest: '127.0.0.1:0'}\nrules: [rules.yaml]\nlog: {level: info, format: json}\n"
	if len(sources) > 0 {
		text += "sources:\n  - " + strings.Join(sources, "\n  - ") + "\n"
	}
	if admin != "" {
		text += "kong: {admin_url: '" + admin + "'}\n"
	}
	for name, text := range map[string]string{"gatewarden.yaml": text, "rules.yaml": rules} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", "", err
		}
	}
	return dir, config, nil
}

// end stops the guard and removes its folder.
func (g *guard) end() error {
	g.stop()
	g.running.Wait()
	return firstError(g.err, os.RemoveAll(g.dir))
}

// events returns the guard's timeline.
func (g *guard) events(ctx context.Context) ([]gatewarden.Event, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Addr("api")+"/api/v1/events?limit=10000", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list struct{ Events []gatewarden.Event }
	return list.Events, json.NewDecoder(resp.Body).Decode(&list)
}

// post sends lines as Kong's http-log does, and wants a 200.
func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the guard answered %s: %s", resp.Status, answer)
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
