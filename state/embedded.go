package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gatewarden/gatewarden"
)

const (
	defaultMaxBytes = 4 << 30
	// maxMemory bounds memory-backed streams, of which this program has none; 0 would
	// mean three quarters of the machine.
	maxMemory = 1 << 20
	// maxPayload leaves room for the cells of a busy second; snapshots are cut smaller.
	maxPayload   = 8 << 20
	startTimeout = 30 * time.Second
)

// embedded is the server inside the process and the lock on its folder.
type embedded struct {
	server *server.Server
	lock   *lock
}

func openEmbedded(ctx context.Context, cfg Config, logger *slog.Logger) (*State, error) {
	held, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{lock: held}
	s, err := e.start(ctx, cfg, logger)
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	s.embedded = e
	return s, nil
}

func (e *embedded) start(ctx context.Context, cfg Config, logger *slog.Logger) (*State, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: "gatewarden",
		DontListen: true,
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   cfg.Dir,
		// Without it an acknowledged write can be lost with the power, and with it the
		// knowledge that a rollback is already running.
		SyncAlways:         true,
		JetStreamMaxStore:  cfg.MaxBytes,
		JetStreamMaxMemory: maxMemory,
		MaxPayload:         maxPayload,
	})
	if err != nil {
		return nil, dirError(cfg.Dir, fmt.Errorf("embedded NATS server: %w", err))
	}
	lines := &serverLog{logger: logger}
	srv.SetLoggerV2(lines, false, false, false)
	e.server = srv
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) || !srv.JetStreamEnabled() {
		return nil, startError(cfg.Dir, lines.lastError())
	}
	conn, err := nats.Connect("", append(connectionOptions(logger), nats.InProcessServer(srv))...)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "connecting to the embedded NATS server: %w", err)
	}
	s, err := withJetStream(ctx, conn, cfg.MaxBytes)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (e *embedded) close() error {
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	return e.lock.release()
}

// startError says why the server did not come up; it tells its log only.
func startError(dir, why string) error {
	if why == "" {
		why = "it was not ready in " + startTimeout.String()
	}
	return gatewarden.Errorf(gatewarden.Unavailable, "the embedded NATS server did not start on %s: %s", dir, why).
		WithHint("is the disk full or read-only? the log has more")
}

// dirError gives what went wrong with a folder the code and the way out.
func dirError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return gatewarden.Errorf(gatewarden.Invalid, "the state folder %s cannot be written: %w", dir, err).
			WithHint("give it to the user that the guard runs as, or set state.dir to another folder")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return gatewarden.Errorf(gatewarden.Unavailable, "no space is left for the state folder %s: %w", dir, err).
			WithHint("free some space; the guard acts on nothing that it cannot write down first")
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return gatewarden.Errorf(gatewarden.Invalid, "the state folder %s is not a folder: %w", dir, err).
			WithHint("set state.dir to a folder")
	default:
		return gatewarden.Errorf(gatewarden.Unavailable, "the state folder %s: %w", dir, err)
	}
}

// checkOwner refuses a folder that holds something else than a guard's state:
// nothing good comes of a database in somebody's home.
func checkOwner(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return dirError(dir, err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "lost+found" {
			return gatewarden.Errorf(gatewarden.Conflict, "the state folder %s holds something that is not a guard's state: %s", dir, name).
				WithHint("set state.dir to a folder of its own; a new one is created when it is missing")
		}
	}
	return nil
}
