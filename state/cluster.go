package state

import "crypto/tls"

// Cluster joins the embedded servers of several guards. A majority of the peers must
// be up and reach each other for anything to be written.
type Cluster struct {
	Name   string            // of this guard, one of Peers
	Listen string            // "host:port" for the other guards' servers; all addresses and the port of the own entry in Peers unless set
	Peers  map[string]string // every guard's name → host:port as the others reach it, this one's included
	Secret string            // that all share; who knows it is a member
	TLS    *tls.Config       // nil: plain; else mutual TLS between the guards, so it needs a certificate and RootCAs
}
