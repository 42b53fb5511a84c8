package state

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gatewarden/gatewarden"
)

func TestAClusterThatCannotBeMeantIsRefused(t *testing.T) {
	dir := t.TempDir()
	good := Config{Dir: dir, Cluster: &Cluster{Name: "a", Peers: map[string]string{"a": "a.example:6222", "b": "b.example:6222"}, Secret: "s"}}
	if err := good.Cluster.check(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"a name that no peer has":       {func(c *Config) { c.Cluster.Name = "z" }, `"z" is not among the peers: a, b`},
		"no name":                       {func(c *Config) { c.Cluster.Name = "" }, "not among the peers"},
		"no secret":                     {func(c *Config) { c.Cluster.Secret = "" }, "no secret"},
		"no folder":                     {func(c *Config) { c.Dir = "" }, "needs a folder"},
		"another server besides":        {func(c *Config) { c.Dir, c.URL = "", "nats://127.0.0.1:1" }, "needs a folder"},
		"a peer without a port":         {func(c *Config) { c.Cluster.Peers["b"] = "b.example" }, "peer b"},
		"a peer without a host":         {func(c *Config) { c.Cluster.Peers["b"] = ":6222" }, "peer b"},
		"a peer with a name for a port": {func(c *Config) { c.Cluster.Peers["b"] = "b.example:routes" }, "peer b"},
		"a peer with port 0":            {func(c *Config) { c.Cluster.Peers["b"] = "b.example:0" }, "peer b"},
		"a peer whose name has a blank": {func(c *Config) { c.Cluster.Peers["b c"] = "b.example:6222" }, "b c"},
		"nothing to listen on":          {func(c *Config) { c.Cluster.Listen = "6222" }, "listen"},
		"TLS without a certificate":     {func(c *Config) { c.Cluster.TLS = &tls.Config{} }, "certificate"},
		"more replicas than there can be": {func(c *Config) {
			c.Cluster, c.Dir, c.URL, c.Replicas = nil, "", "nats://127.0.0.1:1", 7
		}, "7 replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, cluster := good, *good.Cluster
			cluster.Peers = maps.Clone(cluster.Peers)
			cfg.Cluster = &cluster
			c.change(&cfg)
			s, err := Open(t.Context(), cfg, nil)
			if err == nil {
				t.Fatal("it opened", s.Close())
			}
			hinted, ok := errors.AsType[*gatewarden.Error](err)
			if !ok || hinted.Code != gatewarden.Invalid || !strings.Contains(err.Error(), c.says) || hinted.Hint == "" {
				t.Errorf("got %s: %v", gatewarden.ErrorCode(err), err)
			}
		})
	}
}

func TestAFolderIsNotUsedAnotherWayThanBefore(t *testing.T) {
	alone, ctx := t.TempDir(), t.Context()
	s := open(t, Config{Dir: alone})
	if _, err := s.Cells(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	member := t.TempDir()
	if err := writeMember(member, "b"); err != nil {
		t.Fatal(err)
	}
	// checkOwner asks for it in a folder that is not empty.
	held, err := lockDir(filepath.Join(t.TempDir(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	_ = held.release()
	peers := map[string]string{"a": freeAddress(t)}
	for name, c := range map[string]struct {
		claim error
		says  string
	}{
		"alone, then in a cluster":     {(&Cluster{Name: "a", Peers: peers}).claim(alone), "without a cluster"},
		"in a cluster, then alone":     {refuseMember(member), "guard b in a cluster"},
		"in a cluster as another":      {(&Cluster{Name: "a", Peers: peers}).claim(member), "is the guard b's"},
		"in a cluster as before":       {(&Cluster{Name: "b", Peers: peers}).claim(member), ""},
		"new, in a cluster":            {(&Cluster{Name: "a", Peers: peers}).claim(t.TempDir()), ""},
		"new, alone":                   {refuseMember(t.TempDir()), ""},
		"alone, then alone as it was":  {refuseMember(alone), ""},
		"a folder that cannot be read": {refuseMember(filepath.Join(member, memberFile)), "not a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			if (c.claim == nil) != (c.says == "") || c.claim != nil && !strings.Contains(c.claim.Error(), c.says) {
				t.Errorf("got %v, want %q", c.claim, c.says)
			}
		})
	}
	_, err = Open(ctx, Config{Dir: alone, Cluster: &Cluster{Name: "a", Peers: peers, Secret: "s"}}, nil)
	if gatewarden.ErrorCode(err) != gatewarden.Conflict {
		t.Error(err)
	}
	if _, err := open(t, Config{Dir: alone}).Cells(ctx); err != nil {
		t.Error("after it was refused to a cluster:", err)
	}
}

func TestOpeningWaitsForAllTheFirstTimeAndForAMajorityLater(t *testing.T) {
	t.Parallel()
	g := newGuards(t, "a", "b", "c")
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	_, err := Open(ctx, g.config["a"], nil)
	if gatewarden.ErrorCode(err) != gatewarden.Unavailable || !strings.Contains(err.Error(), "1 of 3 up") {
		t.Fatal(err)
	}
	g.start("a", "b", "c")
	cells, err := g.open["a"].Cells(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	more(t, cells, 2)
	for _, name := range []string{"a", "b", "c"} {
		g.stop(name)
	}
	ctx, stop = context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	if _, err := Open(ctx, g.config["b"], nil); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Fatal(err)
	}
	begun := time.Now()
	g.start("b", "c")
	t.Logf("two of three are open again after %s", time.Since(begun))
	if cells, err = g.open["b"].Cells(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("with their streams after %s", time.Since(begun))
	eventually(t, "it takes messages", func() bool { _, err = cells.Append(t.Context(), nil); return err == nil })
	if got := readCells(t, cells, 0); got[1] != "1" || got[2] != "2" || len(got) < 3 {
		t.Errorf("it has %v", got)
	}
}

func TestAPortThatIsTakenIsAnErrorAtOnce(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := taken.Addr().String()
	begun := time.Now()
	_, err = Open(t.Context(), Config{Dir: t.TempDir(), Cluster: &Cluster{Name: "a", Listen: at, Peers: map[string]string{"a": at}, Secret: "s"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
	t.Logf("after %s", time.Since(begun))
}

// authority signs certificates for loopback.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the test's authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key, a.cert = a.sign(template, nil, nil)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert
}

func (a *authority) tls() *tls.Config {
	key, cert := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, RootCAs: a.pool, MinVersion: tls.VersionTLS12}
}

func TestTwoGuardsOverTLSAndOneOfAnotherAuthority(t *testing.T) {
	t.Parallel()
	g := newGuards(t, "a", "b", "c")
	ours, theirs := newAuthority(t), newAuthority(t)
	g.config["a"].Cluster.TLS, g.config["b"].Cluster.TLS, g.config["c"].Cluster.TLS = ours.tls(), ours.tls(), theirs.tls()
	for _, name := range []string{"a", "b"} {
		delete(g.config[name].Cluster.Peers, "c")
	}
	ctx, stop := context.WithTimeout(t.Context(), giveUpAfter)
	defer stop()
	refused := make(chan error, 1)
	go func() {
		_, err := Open(ctx, g.config["c"], slog.New(slog.NewTextHandler(g.log, nil)))
		refused <- err
	}()
	g.start("a", "b")
	cells, err := g.open["a"].Cells(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	more(t, cells, 1)
	g.wantLogged(t, "certificates of the same authority?")
	stop()
	if err := <-refused; gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Error("a guard with a certificate of somebody else's:", err)
	}
	for _, route := range routes(t, g.open["a"].embedded.server) {
		if route.RemoteName == "c" {
			t.Error("it is in the cluster")
		}
	}
}

func routes(t *testing.T, srv *server.Server) []*server.RouteInfo {
	t.Helper()
	all, err := srv.Routez(nil)
	if err != nil {
		t.Fatal(err)
	}
	return all.Routes
}

func TestTwoGuardsOnOneServerOfOnesOwn(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(giveUpAfter) {
		t.Fatal("the test's server does not start")
	}
	g := &guards{t: t, open: map[string]*State{"a": open(t, Config{URL: srv.ClientURL()}), "b": open(t, Config{URL: srv.ClientURL()})}}
	for name, s := range g.open {
		if !s.Shared() || s.Replicas() != 1 {
			t.Errorf("%s: shared %t, %d replicas", name, s.Shared(), s.Replicas())
		}
	}
	g.each(t, map[string]func(*testing.T, *guards){
		"the board":                              allSeeTheBoard,
		"trimmed by one, conflict for the other": trimmedByAnother,
		"what is swept is what nobody writes":    openingSweepsNothing,
		"snapshots and leases are everybody's":   blobsAndLeasesAreShared,
		"what one tells all hear":                whatOneTellsAllHear,
	})
	standing := map[string]*stander{"a": g.stand("a"), "b": g.stand("b")}
	first, _ := elected(t, standing)
	standing[first].resign <- struct{}{}
	second, took := elected(t, without(standing, first))
	t.Logf("after a resignation: %s", took)
	eventually(t, "the other knows", func() bool {
		who, _, ok := standing[first].Leader()
		return ok && who.Name == second
	})
	g.open[second].conn.Close()
	third, took := elected(t, without(standing, second))
	t.Logf("after the leader's connection ended: %s", took)
	if third != first {
		t.Errorf("%s leads", third)
	}
	for _, s := range standing {
		s.stop()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	}
}
