// Package state opens the NATS JetStream that everything durable lives in: the
// journal, the snapshots of the store, the cells since the last one, and the
// leases. By default the server runs inside the process, on a folder, without a
// socket. The servers of several guards can join into a cluster, and it can also be
// a NATS of one's own. The rest of the program sees no difference.
//
// Where guards share the state, this package also says which of them leads
// (Election), shows each what the others put up (Board), and passes on what is told
// without being kept (Tell and Hear).
package state

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

// Config says where the state lives. Exactly one of Dir and URL is set.
type Config struct {
	Dir             string // folder of the embedded server; created when missing
	URL             string // NATS server to use instead
	CredentialsFile string // for URL
	MaxBytes        int64  // what may be stored in all; 4 GiB unless set

	// Cluster joins the embedded server on Dir with those of other guards; nil: alone.
	Cluster *Cluster
	// Replicas is how many servers of URL hold each stream and bucket; 1 unless set. In a
	// cluster of the guards' own it is not asked: as many as there are peers, at most 3.
	Replicas int
}

// State is an open JetStream.
type State struct {
	conn     *nats.Conn
	js       jetstream.JetStream
	maxBytes int64 // what may be stored in all
	replicas int   // of streams and buckets, at least 1
	logger   *slog.Logger
	embedded *embedded // nil with a NATS of one's own
	cluster  *Cluster  // nil unless embedded and joined with others
}

// Open starts the embedded server, or connects to the one that cfg names. Its
// errors have hints: invalid for a configuration that cannot be meant, conflict
// for a folder that is in use or somebody else's, unavailable for a server that
// does not answer. In a cluster it waits for a majority of the guards for as long as
// ctx lives.
func Open(ctx context.Context, cfg Config, logger *slog.Logger) (*State, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.Cluster != nil {
		if err := cfg.Cluster.check(); err != nil {
			return nil, err
		}
	}
	switch {
	case cfg.Cluster != nil && (cfg.Dir == "" || cfg.URL != ""):
		return nil, gatewarden.Errorf(gatewarden.Invalid, "state.cluster needs a folder for this guard's part, and no other NATS server").
			WithHint("set state.dir, for example to ./data, and leave state.nats away")
	case cfg.Replicas < 0 || cfg.Replicas > 5:
		return nil, gatewarden.Errorf(gatewarden.Invalid, "state: %d replicas", cfg.Replicas).
			WithHint("1, 3 or 5, and at most as many as the NATS cluster has servers")
	case cfg.Dir != "" && cfg.URL != "":
		return nil, gatewarden.Errorf(gatewarden.Invalid, "state has both a folder (%s) and a NATS server", cfg.Dir).
			WithHint("keep state.dir for the embedded server, or state.nats for your own")
	case cfg.URL != "":
		return connect(ctx, cfg, logger)
	case cfg.Dir != "":
		return openEmbedded(ctx, cfg, logger)
	default:
		return nil, gatewarden.Errorf(gatewarden.Invalid, "state has neither a folder nor a NATS server").
			WithHint("set state.dir, for example to ./data")
	}
}

// JetStream returns the handle that journal.Open takes.
func (s *State) JetStream() jetstream.JetStream { return s.js }

// Shared reports whether other guards may use this state too.
func (s *State) Shared() bool { return s.embedded == nil || s.cluster != nil }

// Replicas returns how many servers hold each stream and bucket; journal.Config wants
// to know it.
func (s *State) Replicas() int { return s.replicas }

// Close disconnects, stops the embedded server and waits until its files are
// closed and the folder is free for the next guard.
func (s *State) Close() error {
	s.conn.Close()
	if s.embedded == nil {
		return nil
	}
	return s.embedded.close()
}

// connect opens a NATS server that runs elsewhere.
func connect(ctx context.Context, cfg Config, logger *slog.Logger) (*State, error) {
	options := connectionOptions(logger)
	if cfg.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(cfg.CredentialsFile))
	}
	conn, err := nats.Connect(cfg.URL, options...)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "connecting to the NATS server of state.nats: %w", err).
			WithHint("check state.nats.url and credentials_file, and that the server is up")
	}
	s, err := withJetStream(ctx, conn, cfg, logger)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// withJetStream returns the state behind conn once JetStream answers there.
func withJetStream(ctx context.Context, conn *nats.Conn, cfg Config, logger *slog.Logger) (*State, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "JetStream client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := js.AccountInfo(ctx); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "JetStream does not answer: %w", err).
			WithHint("JetStream must be enabled on the server and for the account")
	}
	return &State{conn: conn, js: js, maxBytes: cfg.MaxBytes, replicas: max(cfg.Replicas, 1), logger: logger}, nil
}

// connectionOptions keep a connection for as long as the process lives: what is
// published while the server is away fails and is tried again by the caller, who
// knows whether it still matters.
func connectionOptions(logger *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name("gatewarden"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("lost the connection to NATS", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { logger.Info("connected to NATS again") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			logger.Warn("NATS reports an error", "error", err)
		}),
	}
}
