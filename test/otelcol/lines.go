package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
)

// lines is a receiver that makes a log record of each line of a body.
type lines struct {
	next   consumer.Logs
	server *http.Server
}

func linesFactory() receiver.Factory {
	return receiver.NewFactory(component.MustNewType("lines"), func() component.Config { return &struct{}{} },
		receiver.WithLogs(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Logs) (receiver.Logs, error) {
			return &lines{next: next}, nil
		}, component.StabilityLevelDevelopment))
}

// Start listens, and prints where.
func (l *lines) Start(context.Context, component.Host) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: time.Second}
	go func() {
		if err := l.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return nil
}

// Shutdown stops listening.
func (l *lines) Shutdown(ctx context.Context) error { return l.server.Shutdown(ctx) }

func (l *lines) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for line := range bytes.Lines(body) {
		records.AppendEmpty().Body().SetStr(string(bytes.TrimSpace(line)))
	}
	if err := l.next.ConsumeLogs(r.Context(), logs); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
