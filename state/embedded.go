package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	startLook    = 100 * time.Millisecond
)

// embedded is the server inside the process and the lock on its folder.
type embedded struct {
	server *server.Server
	lock   *lock
	now    func() time.Time

	stop     context.CancelFunc // of watching
	watching sync.WaitGroup
}

func openEmbedded(ctx context.Context, cfg Config, logger *slog.Logger) (*State, error) {
	held, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{lock: held, now: time.Now, stop: func() {}}
	s, err := e.start(ctx, cfg, logger)
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	s.embedded, s.cluster = e, cfg.Cluster
	return s, nil
}

func (e *embedded) start(ctx context.Context, cfg Config, logger *slog.Logger) (*State, error) {
	if err := claim(cfg); err != nil {
		return nil, err
	}
	options := serverOptions(cfg)
	if err := e.serve(ctx, options, logger); err != nil {
		return nil, err
	}
	conn, err := nats.Connect("", append(connectionOptions(logger), nats.InProcessServer(e.server), nats.UserInfo(options.Username, options.Password))...)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "connecting to the embedded NATS server: %w", err)
	}
	s, err := e.open(ctx, conn, cfg, logger)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// claim makes sure that the folder was not used in another way before.
func claim(cfg Config) error {
	if cfg.Cluster == nil {
		return refuseMember(cfg.Dir)
	}
	return cfg.Cluster.claim(cfg.Dir)
}

func serverOptions(cfg Config) *server.Options {
	o := &server.Options{
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
	}
	if cfg.Cluster != nil {
		cfg.Cluster.join(o)
	}
	return o
}

// serve starts the server and returns when it is ready.
func (e *embedded) serve(ctx context.Context, options *server.Options, logger *slog.Logger) error {
	srv, err := server.NewServer(options)
	if err != nil {
		return dirError(options.StoreDir, fmt.Errorf("embedded NATS server: %w", err))
	}
	lines := newServerLog(logger)
	srv.SetLoggerV2(lines, false, false, false)
	e.server = srv
	srv.Start()
	deadline := e.now().Add(startTimeout)
	for !srv.ReadyForConnections(startLook) {
		if ctx.Err() != nil || lines.died() || !e.now().Before(deadline) {
			return startError(options.StoreDir, lines.lastError())
		}
	}
	if !srv.JetStreamEnabled() {
		return startError(options.StoreDir, lines.lastError())
	}
	return nil
}

// open returns the state behind the server once something can be written.
func (e *embedded) open(ctx context.Context, conn *nats.Conn, cfg Config, logger *slog.Logger) (*State, error) {
	if cfg.Cluster == nil {
		return withJetStream(ctx, conn, cfg, logger)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "JetStream client: %w", err)
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	e.watching.Go(func() { e.watchPeers(watch, cfg.Cluster, logger) })
	if err := e.awaitQuorum(ctx, js, cfg.Cluster, logger); err != nil {
		return nil, err
	}
	return &State{conn: conn, js: js, maxBytes: cfg.MaxBytes, replicas: cfg.Cluster.replicas(), logger: logger}, nil
}

func (e *embedded) close() error {
	e.stop()
	e.watching.Wait()
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
