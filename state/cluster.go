package state

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const (
	// clusterName is also the user name of the routes, which tells in a server's log that it
	// was a guard that did not know the secret.
	clusterName = "gatewarden"
	// maxReplicas is enough to lose one server; more makes every write slower.
	maxReplicas = 3
	// memberFile marks a folder as a cluster's and says whose of its guards it is.
	memberFile    = "gatewarden.member"
	quorumTimeout = 2 * time.Second
	quorumLog     = 10 * time.Second
	lookAtPeers   = time.Second
)

// Cluster joins the embedded servers of several guards. A majority of the peers must
// be up and reach each other for anything to be written. The first time, all must be: a
// server without a past cannot tell whether it has lost one.
type Cluster struct {
	Name   string            // of this guard, one of Peers
	Listen string            // "host:port" for the other guards' servers; all addresses and the port of the own entry in Peers unless set
	Peers  map[string]string // every guard's name → host:port as the others reach it, this one's included
	Secret string            // that all share; who knows it is a member
	TLS    *tls.Config       // nil: plain; else mutual TLS between the guards, so it needs a certificate and RootCAs
}

// check finds what cannot be meant. Errors are invalid and have hints.
func (c *Cluster) check() error {
	if _, ok := c.Peers[c.Name]; !ok {
		return gatewarden.Errorf(gatewarden.Invalid, "state.cluster: this guard's name %q is not among the peers: %s",
			c.Name, strings.Join(slices.Sorted(maps.Keys(c.Peers)), ", ")).
			WithHint("list every guard in state.cluster.peers, this one too, and give each its own name there")
	}
	if c.Secret == "" {
		return gatewarden.Errorf(gatewarden.Invalid, "state.cluster has no secret").
			WithHint("give all guards the same long random one: whoever knows it is a member")
	}
	for name, address := range c.Peers {
		if name == "" || strings.ContainsFunc(name, notInName) {
			return gatewarden.Errorf(gatewarden.Invalid, "state.cluster: the name %q of a peer", name).
				WithHint("letters, digits, - and _ are allowed")
		}
		if host, _, err := splitAddress(address); err != nil || host == "" {
			return gatewarden.Errorf(gatewarden.Invalid, "state.cluster: the address %q of the peer %s", address, name).
				WithHint("write host:port, as the other guards reach it")
		}
	}
	if _, _, err := splitAddress(c.Listen); c.Listen != "" && err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "state.cluster: the address %q to listen on", c.Listen).WithHint("write host:port or :port")
	}
	if c.TLS != nil && (len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil || c.TLS.RootCAs == nil) {
		return gatewarden.Errorf(gatewarden.Invalid, "state.cluster: TLS without a certificate or without the authority that signs the guards'").
			WithHint("each guard shows its certificate to the others, as server and as client")
	}
	return nil
}

// notInName reports whether a rune cannot be in a guard's name, which becomes part of
// keys and subjects.
func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// splitAddress returns the host, which may be empty, and the port.
func splitAddress(address string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return host, int(n), err
}

// replicas returns how many of the peers hold each stream.
func (c *Cluster) replicas() int { return min(len(c.Peers), maxReplicas) }

// majority returns how many of the peers must be up.
func (c *Cluster) majority() int { return len(c.Peers)/2 + 1 }

// join sets what makes the server one of a cluster. c has been checked.
//
// A NATS server (2.15) that does not listen for clients never begins to listen for
// other servers either, nor can it be shut down. So it listens, where only this machine
// can reach it, and for a password that only this process knows.
func (c *Cluster) join(o *server.Options) {
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT
	o.Username, o.Password = clusterName, rand.Text()
	own := c.Peers[c.Name]
	_, port, _ := splitAddress(own) // its host is where the others reach it, which may be no address of this machine
	host := ""
	if c.Listen != "" {
		host, port, _ = splitAddress(c.Listen)
	}
	o.ServerName = c.Name
	o.Cluster = server.ClusterOpts{
		Name:      clusterName,
		Host:      host,
		Port:      port,
		Advertise: own,
		// Other servers need not know where this one listens for clients.
		NoAdvertise: true,
		Username:    clusterName,
		Password:    c.Secret,
		TLSConfig:   c.tls(),
	}
	// The own address is among them: the number of routes is how many servers the first
	// election waits for, and the server notices a route to itself.
	for _, name := range slices.Sorted(maps.Keys(c.Peers)) {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", User: url.UserPassword(clusterName, c.Secret), Host: c.Peers[name]})
	}
}

// tls returns the configuration for both ends of a route, nil for plain ones.
func (c *Cluster) tls() *tls.Config {
	if c.TLS == nil {
		return nil
	}
	both := c.TLS.Clone()
	both.ClientAuth = tls.RequireAndVerifyClientCert
	if both.ClientCAs == nil {
		both.ClientCAs = both.RootCAs
	}
	return both
}

// claim makes sure that dir is this guard's part of the cluster, or new. A server that
// joins a cluster drops streams which the cluster does not know, and one that leaves it
// cannot tell what the others have written since: neither may happen by a changed
// setting.
func (c *Cluster) claim(dir string) error {
	member, err := memberOf(dir)
	switch {
	case err != nil:
		return err
	case member == c.Name:
		return nil
	case member != "":
		return gatewarden.Errorf(gatewarden.Conflict, "the state folder %s is the guard %s's, and this one is %s", dir, member, c.Name).
			WithHint("give each guard a folder of its own, or this one its old name")
	}
	streams, err := os.ReadDir(filepath.Join(dir, server.JetStreamStoreDir, server.DEFAULT_GLOBAL_ACCOUNT, "streams"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dirError(dir, err)
	}
	if len(streams) > 0 {
		return gatewarden.Errorf(gatewarden.Conflict, "the state folder %s was written by a guard without a cluster, whose servers would drop what is in it", dir).
			WithHint("a cluster begins empty: give it a new folder and keep the old one, or leave state.cluster away to go on alone")
	}
	return writeMember(dir, c.Name)
}

// refuseMember refuses a folder that is part of a cluster to a guard without one.
func refuseMember(dir string) error {
	member, err := memberOf(dir)
	if err != nil || member == "" {
		return err
	}
	return gatewarden.Errorf(gatewarden.Conflict, "the state folder %s is the part of the guard %s in a cluster", dir, member).
		WithHint("set state.cluster as it was, or begin alone with a new folder: this one may lack what the other guards wrote last")
}

// memberOf returns the name of the guard whose part of a cluster dir is, "" when it is
// none.
func memberOf(dir string) (string, error) {
	name, err := os.ReadFile(filepath.Join(dir, memberFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", dirError(dir, err)
	}
	return strings.TrimSpace(string(name)), nil
}

// writeMember is durable before the server writes anything.
func writeMember(dir, name string) error {
	file, err := os.OpenFile(filepath.Join(dir, memberFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return dirError(dir, err)
	}
	_, err = file.WriteString(name + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return dirError(dir, err)
	}
	return nil
}

// awaitQuorum returns when the servers have elected which of them leads JetStream, or ctx
// ends. It never gives up before: the others may start later.
func (e *embedded) awaitQuorum(ctx context.Context, js jetstream.JetStream, c *Cluster, logger *slog.Logger) error {
	begun := e.now()
	told := begun
	for {
		answered, cancel := context.WithTimeout(ctx, quorumTimeout)
		_, err := js.AccountInfo(answered)
		cancel()
		if err == nil {
			logger.Info("the cluster of guards is up", "waited", e.now().Sub(begun).Round(time.Millisecond))
			return nil
		}
		if e.now().Sub(told) >= quorumLog {
			told = e.now()
			logger.Warn("waiting for the other guards: a majority must be up, and all of them when the cluster starts for the first time",
				"up", len(e.connected())+1, "majority", c.majority(), "peers", len(c.Peers), "error", err)
		}
		select {
		case <-ctx.Done():
			return gatewarden.Errorf(gatewarden.Unavailable, "waiting for the other guards, with %d of %d up: %w", len(e.connected())+1, len(c.Peers), context.Cause(ctx)).
				WithHint("a majority must be up, and all of them the first time: are they started, and do they reach %s?", c.Peers[c.Name])
		case <-time.After(quorumTimeout / 10):
		}
	}
}

// connected returns the names of the guards whose servers are connected.
func (e *embedded) connected() map[string]bool {
	names := make(map[string]bool)
	if routes, err := e.server.Routez(nil); err == nil {
		for _, r := range routes.Routes {
			names[r.RemoteName] = true
		}
	}
	return names
}

// watchPeers logs who comes and goes, until ctx ends.
func (e *embedded) watchPeers(ctx context.Context, c *Cluster, logger *slog.Logger) {
	tick := time.NewTicker(lookAtPeers)
	defer tick.Stop()
	before := make(map[string]bool)
	for {
		now := e.connected()
		for name := range now {
			if before[name] {
				continue
			}
			if _, known := c.Peers[name]; known {
				logger.Info("connected to another guard", "peer", name)
			} else {
				logger.Error("a guard that is not among the peers has joined the cluster: it knows the secret. Change the secret, or list it in state.cluster.peers of all guards", "peer", name)
			}
		}
		for name := range before {
			if !now[name] {
				logger.Warn("lost the connection to another guard", "peer", name, "up", len(now)+1, "majority", c.majority())
			}
		}
		before = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
