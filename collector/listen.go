package collector

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// CheckAddress returns an error with the code Invalid when address is nothing to
// listen at. kind and key say where it was written.
func CheckAddress(kind, key, address string) error {
	host, port, err := net.SplitHostPort(address)
	if n, perr := strconv.Atoi(port); err == nil && perr == nil && n >= 0 && n <= 65535 && !strings.ContainsAny(host, "/ ") {
		return nil
	}
	return gatewarden.Errorf(gatewarden.Invalid, "%s: %s: %q is no address to listen at", kind, key, address).
		WithHint(`write ":9514" for every interface, or "127.0.0.1:9514"`)
}

// Listen listens at an address over TCP, with TLS when files are given; over that, one of
// protocols is agreed on. The error has the code Conflict when the address is taken, and
// Invalid when the certificate cannot be read.
func Listen(env Env, address string, files *TLSFiles, protocols ...string) (net.Listener, error) {
	var tlsConfig *tls.Config
	if files != nil {
		var err error
		if tlsConfig, err = files.config(env); err != nil {
			return nil, err
		}
		tlsConfig.NextProtos = protocols
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, listening(address, err)
	}
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}
	return listener, nil
}

// listening explains why an address cannot be listened at.
func listening(address string, err error) error {
	return gatewarden.Errorf(gatewarden.Conflict, "listening on %s: %w", address, err).
		WithHint("is another program there, or this one already? A port below 1024 needs a privilege")
}

// TLSFiles name a certificate and its key, in PEM.
type TLSFiles struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Validate returns an error with the code Invalid when one of the two is missing. A
// nil TLSFiles is none, and fine.
func (t *TLSFiles) Validate(kind string) error {
	if t == nil || t.CertFile != "" && t.KeyFile != "" {
		return nil
	}
	return gatewarden.Errorf(gatewarden.Invalid, "%s: tls needs both cert_file and key_file", kind).
		WithHint("write tls: {cert_file: server.crt, key_file: server.key}, or leave tls out")
}

// config reads the files, and again at each handshake, so that a renewed certificate
// needs no restart.
func (t *TLSFiles) config(env Env) (*tls.Config, error) {
	cert, key := env.Path(t.CertFile), env.Path(t.KeyFile)
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "reading the certificate: %w", err).
			WithHint("cert_file holds the certificate and those it is signed by, key_file its key, both in PEM")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		},
	}, nil
}
