package app

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

// stopEvery is how often the pause file is looked at: what it adds to the time until
// nothing is begun any more.
const stopEvery = 250 * time.Millisecond

// stopper pauses the guard for who cannot, or does not want to, ask its API: by a file,
// and by a signal.
type stopper struct {
	file    string                         // "" for none
	engine  atomic.Pointer[actions.Engine] // nil while another guard leads
	signals chan os.Signal                 // caught from the first moment on: by themselves they end a process
	logger  *slog.Logger
	now     func() time.Time
}

func newStopper(file string, now func() time.Time, logger *slog.Logger) *stopper {
	s := &stopper{file: file, signals: make(chan os.Signal, 4), logger: logger, now: now}
	if pause, resume := steering(); pause != nil {
		signal.Notify(s.signals, pause, resume)
	}
	return s
}

// look returns the pause of the file, nil when it is not there. One that cannot be
// looked at is there: who wanted to stop the guard must not be let down by a permission.
func (s *stopper) look() *actions.Pause {
	if s.file == "" {
		return nil
	}
	f, err := os.Open(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p := &actions.Pause{By: "the file " + s.file, Reason: "it gives no reason", At: s.now()}
	if err != nil {
		p.Reason = "it cannot be read"
		return p
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 200)) // a folder has no text, and is there as well
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(string(text), "")), "\n")
	if line = strings.TrimSpace(line); line != "" {
		p.Reason = line
	}
	return p
}

// close lets signals end the process again.
func (s *stopper) close(context.Context) error {
	signal.Stop(s.signals)
	return nil
}

// Run looks at the file and obeys signals until ctx ends. While another guard leads there
// is nothing here to pause.
func (s *stopper) Run(ctx context.Context) error {
	every := time.NewTicker(stopEvery)
	defer every.Stop()
	var told os.Signal // what is not carried out yet
	for {
		select {
		case <-ctx.Done():
			return nil
		case told = <-s.signals:
		case <-every.C:
		}
		engine := s.engine.Load()
		if engine == nil {
			if told != nil {
				s.logger.Error("a signal is not obeyed: this guard does not lead", "signal", told, "hint", "gatewarden actions pause, and resume, work at every guard")
			}
			told = nil
			continue
		}
		if err := engine.Halt(ctx, s.look()); err != nil {
			s.logger.Warn("the pause file is heeded, but the journal does not know", "error", err)
		}
		if told != nil && s.obey(ctx, engine, told) {
			told = nil
		}
	}
}

// obey does what a signal says, and reports false when it is to be tried again.
func (s *stopper) obey(ctx context.Context, engine *actions.Engine, told os.Signal) bool {
	pause, _ := steering()
	name, do := "SIGUSR2", engine.Resume
	if told == pause {
		name, do = "SIGUSR1", func(ctx context.Context, by string) error {
			return engine.Pause(ctx, by, "the process was sent this signal")
		}
	}
	err := do(ctx, name)
	if err == nil {
		s.logger.Info("obeyed a signal", "signal", name)
		return true
	}
	s.logger.Error("a signal could not be obeyed", "signal", name, "error", err)
	return gatewarden.ErrorCode(err) == gatewarden.Conflict
}
