package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden/rules"
)

// host looks at what the guard needs of its own machine: addresses and secrets.
func (d *doctor) host(ctx context.Context) {
	d.peer = "host"
	d.secrets()
	running := false
	for _, l := range []struct{ key, address string }{
		{"listen.api", d.set.config.Listen.API}, {"listen.ingest", d.set.config.Listen.Ingest}, {"listen.metrics", d.set.config.Listen.Metrics},
	} {
		if l.address != "" {
			running = d.port(ctx, l.key, "tcp", l.address, running) || running
		}
	}
	for _, s := range d.set.config.Sources {
		m := settingsOf(s)
		for _, key := range []string{"listen", "tcp", "udp", "grpc", "http"} {
			address := m.text(key)
			if _, _, err := net.SplitHostPort(address); err != nil {
				continue
			}
			network := "tcp"
			if key == "udp" || s.Kind == "udplog" {
				network = "udp"
			}
			d.port(ctx, s.Kind+"."+key, network, address, running)
		}
	}
}

// secrets looks whether the files with secrets can be read.
func (d *doctor) secrets() {
	c := d.set.config
	files := []struct{ key, path string }{
		{"kong.token_file", c.Kong.TokenFile}, {"kong.ca_file", c.Kong.CAFile}, {"jenkins.token_file", c.Jenkins.TokenFile},
		{"jenkins.password_file", c.Jenkins.PasswordFile}, {"jenkins.ca_file", c.Jenkins.CAFile}, {"web.config_file", c.Web.ConfigFile}, {"tracing.ca_file", c.Tracing.CAFile},
	}
	for _, name := range slices.Sorted(maps.Keys(c.Web.TokenFiles)) {
		files = append(files, struct{ key, path string }{"web.token_files." + name, c.Web.TokenFiles[name]})
	}
	for _, f := range files {
		if f.path == "" {
			continue
		}
		switch text, err := os.ReadFile(f.path); {
		case errors.Is(err, fs.ErrPermission):
			d.trouble("files", "chown $(id -u) "+f.path+" && chmod 600 "+f.path, "%s: %s may not be read by this user", f.key, f.path)
		case err != nil:
			d.trouble("files", "mount the secret there, or name where it is", "%s: %v", f.key, err)
		case len(text) == 0:
			d.trouble("files", "write the secret into it", "%s: %s is empty", f.key, f.path)
		case f.path == c.Web.ConfigFile && checkWeb(f.path) != nil:
			d.failed("files", checkWeb(f.path))
		default:
			d.fine("files", "%s can be read", f.key)
		}
	}
}

// port looks whether an address is free, and reports whether a guard answers there.
func (d *doctor) port(ctx context.Context, key, network, address string, running bool) bool {
	err := listens(ctx, network, address)
	if err == nil {
		d.fine("ports", "%s: %s is free", key, address)
		return false
	}
	guard, asks := whoListens(ctx, network, address)
	switch {
	case guard:
		d.fine("ports", "%s: a guard listens at %s already", key, address)
		return true
	case running:
		d.fine("ports", "%s: %s is taken, by the guard that runs as it seems", key, address)
	case asks != "" && d.set.config.Web.ConfigFile != "":
		d.doubt("ports", "ss -lntup | grep "+address[lastColon(address):]+"   # is it gatewarden?",
			"%s: what listens at %s asks for %s, as a guard with this web.config_file does: probably it runs already", key, address, asks)
		return true
	default:
		d.trouble("ports", "ss -lntup | grep "+address[lastColon(address):]+"   # who has it; or set "+key+" to another address", "%s: nobody can listen at %s: %v", key, address, plainNet(err))
	}
	return false
}

func lastColon(address string) int {
	for i := len(address) - 1; i > 0; i-- {
		if address[i] == ':' {
			return i
		}
	}
	return 0
}

// plainNet leaves out what net says around the reason.
func plainNet(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// listens tries to listen, and leaves the address again.
func listens(ctx context.Context, network, address string) error {
	var lc net.ListenConfig
	if network == "udp" {
		c, err := lc.ListenPacket(ctx, network, address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := lc.Listen(ctx, network, address)
	if err != nil {
		return err
	}
	return l.Close()
}

// whoListens reports whether a guard's API answers at an address, or else what is asked for
// there first: "a login", or "a certificate". It is found out by an empty question, so whose
// certificate it is matters not.
func whoListens(ctx context.Context, network, listen string) (guard bool, asks string) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || network != "tcp" {
		return false, ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	t := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	for _, scheme := range []string{"http", "https"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/-/healthy", nil)
		if err != nil {
			return false, ""
		}
		resp, err := t.RoundTrip(req)
		if err != nil {
			return false, asks
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // half of it is not what is looked for
		resp.Body.Close()
		var answer struct {
			Status string `json:"status"`
		}
		switch {
		case json.Unmarshal(body, &answer) == nil && answer.Status == "healthy":
			return true, ""
		case resp.StatusCode == http.StatusUnauthorized:
			return false, "a login"
		case resp.StatusCode == http.StatusBadRequest && bytes.Contains(body, []byte("HTTP request to an HTTPS server")):
			asks = "a certificate" // unless it answers without one
		default:
			return false, ""
		}
	}
	return false, asks
}

// state looks whether what must survive a restart can be kept.
func (d *doctor) state(ctx context.Context) {
	d.peer = "state"
	if n := d.set.config.State.NATS; n != nil {
		d.nats(ctx, n.URL, n.CredentialsFile)
		return
	}
	dir := d.set.config.State.Dir
	there, err := nearest(dir)
	if err != nil {
		d.trouble("folder", "state: {dir: ./data}   # in "+d.set.config.File, "state.dir: %v", err)
		return
	}
	if err := writable(there); err != nil {
		d.trouble("folder", "mkdir -p "+dir+" && chown $(id -u) "+dir, "nothing can be written into %s: %v", there, err)
		return
	}
	if there == dir {
		d.fine("folder", "%s can be written into", dir)
	} else {
		d.fine("folder", "%s can be made", dir)
	}
	d.space(there)
	if k := d.set.config.State.Cluster; k != nil {
		d.cluster(ctx, k)
	}
}

// cluster looks whether this guard is one of its cluster, and reaches the others.
func (d *doctor) cluster(ctx context.Context, k *rules.Cluster) {
	name, err := guardName(&d.set.config.State)
	if err == nil && k.Peers[name] == "" {
		err = fmt.Errorf("%s is none of the peers", name)
	}
	if err != nil {
		d.trouble("name", "state: {name: NAME}   # one of "+strings.Join(slices.Sorted(maps.Keys(k.Peers)), ", "), "this guard's name: %v", err)
	}
	if _, err := secret(k.Secret, k.SecretFile); err != nil {
		d.trouble("secret", "openssl rand -hex 32 > "+k.SecretFile+"   # the same on every guard", "the secret of the cluster: %v", err)
	}
	for _, peer := range slices.Sorted(maps.Keys(k.Peers)) {
		if peer == name {
			continue
		}
		dialer := net.Dialer{Timeout: 2 * time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", k.Peers[peer])
		if err != nil {
			d.doubt("peer "+peer, "gatewarden run -c FILE   # on "+peer+", if it does not run yet", "%s does not answer at %s: %v", peer, k.Peers[peer], err)
			continue
		}
		_ = conn.Close() // it was only to see
		d.fine("peer "+peer, "%s answers at %s", peer, k.Peers[peer])
	}
}

const (
	// enoughSpace is what the journal and the cells may grow to with some room, and
	// leastSpace is so little that the first snapshots may fail.
	enoughSpace = 1 << 30
	leastSpace  = 100 << 20
)

func (d *doctor) space(dir string) {
	free, ok := freeSpace(dir)
	switch {
	case !ok:
	case free < leastSpace:
		d.trouble("space", "df -h "+dir, "there are %d MiB left for %s: a guard that can't write its journal does nothing", free>>20, dir)
	case free < enoughSpace:
		d.doubt("space", "df -h "+dir, "there are %d MiB left for %s", free>>20, dir)
	default:
		d.fine("space", "there are %d GiB left", free>>30)
	}
}

// nearest is a folder, or the folder above it that exists.
func nearest(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && info.IsDir():
			return dir, nil
		case err == nil:
			return "", &fs.PathError{Op: "using", Path: dir, Err: errors.New("it is a file, not a folder")}
		case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir:
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

// writable writes a file and removes it.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".gatewarden-doctor-*")
	if err != nil {
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			return p.Err
		}
		return err
	}
	_, err = f.WriteString("gatewarden doctor\n")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// nats looks whether the NATS that is there has a JetStream for us.
func (d *doctor) nats(ctx context.Context, address, credentials string) {
	options := []nats.Option{nats.Name("gatewarden doctor"), nats.Timeout(5 * time.Second), nats.MaxReconnects(0)}
	if credentials != "" {
		options = append(options, nats.UserCredentials(credentials))
	}
	nc, err := nats.Connect(address, options...)
	if err != nil {
		fix := "nats server check connection -s " + withoutUser(address)
		if errors.Is(err, nats.ErrAuthorization) {
			fix = "state: {nats: {credentials_file: PATH}}"
		}
		d.trouble("nats", fix, "NATS at %s: %v", withoutUser(address), err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err == nil {
		var info *jetstream.AccountInfo
		if info, err = js.AccountInfo(ctx); err == nil {
			d.fine("nats", "NATS %s at %s has a JetStream, with %s of ours or others", nc.ConnectedServerVersion(), withoutUser(address), many(info.Streams, "stream", "streams"))
			return
		}
	}
	d.trouble("nats", "jetstream: {store_dir: /data}   # in the server's configuration; the account needs it too", "NATS at %s has no JetStream for this user: %v", withoutUser(address), err)
}
