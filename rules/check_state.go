package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func checkState(d *document, c *Config) {
	s := &c.State
	if s.NATS != nil {
		checkNATS(d, s)
	} else if s.Dir == "" {
		d.errorf(d.find(&s.Dir, s), "name a folder; it is made when it does not exist", "dir is empty")
	}
	if s.Cluster != nil {
		checkCluster(d, s.Cluster)
	}
	if s.Acknowledge != "" {
		d.choice(d.find(&s.Acknowledge), "acknowledge", s.Acknowledge, AckCounted, AckDurable)
	}
	if at := d.find(&s.Name); at != nil && strings.ContainsAny(s.Name, " \t.*>/") {
		d.errorf(at, "write a word, such as guard-1", "name: %q has a character that no name of a guard may have", s.Name)
	}
	switch at := d.find(&s.API); {
	case at != nil:
		checkURL(d, at, "api", s.API, "http", "https")
	case s.Shared() && c.Web.ConfigFile != "":
		d.warnf(d.find(s), "add api: https://HOST:PORT, if that is where the other guards reach this one",
			"the other guards will reach this one's API by http, whatever web.config_file says")
	}
}

func checkNATS(d *document, s *State) {
	for at, name := range map[any]string{&s.Dir: "dir", s.Cluster: "cluster"} {
		if n := d.find(at); n != nil {
			d.errorf(n, "remove one of them", "state has both %s and nats", name)
		}
	}
	s.Dir = ""
	checkURL(d, d.find(&s.NATS.URL, s.NATS, s), "url", s.NATS.URL, "nats", "tls", "ws", "wss")
	if n := s.NATS.Replicas; n < 0 || n > 5 {
		d.errorf(d.find(&s.NATS.Replicas), "write 3 for a NATS cluster of three or more", "replicas: JetStream keeps 1 to 5, not %d", n)
	}
}

// smallestCluster is how many it takes to go on without one of them.
const smallestCluster = 3

func checkCluster(d *document, k *Cluster) {
	at := d.find(k)
	if k.Listen != "" {
		checkAddress(d, d.find(&k.Listen), "listen", k.Listen)
	}
	if n := len(k.Peers); n < smallestCluster || n%2 == 0 {
		d.errorf(d.find(&k.Peers, k), "name every guard with its host:port; for one guard alone leave cluster out",
			"peers: a cluster is of 3 or 5 guards, not of %d: two of three can go on without the third", n)
	}
	for _, name := range slices.Sorted(maps.Keys(k.Peers)) {
		where := d.find(placeInMap{&k.Peers, name}, &k.Peers)
		if strings.ContainsAny(name, " \t.*>/") {
			d.errorf(where, "write a word, such as guard-1", "peers: %q has a character that no name of a guard may have", name)
		}
		checkPeer(d, k, name)
	}
	switch {
	case d.find(&k.Secret) == nil && k.SecretFile == "":
		d.errorf(at, "add secret_file: PATH, with the same long random text on every guard", "cluster has no secret: whoever reached its port would be a member")
	case d.find(&k.Secret) != nil && k.SecretFile != "":
		d.errorf(d.find(&k.SecretFile), "remove one of them", "cluster has both secret and secret_file")
	}
	if (k.CertFile == "") != (k.KeyFile == "") || k.CertFile != "" && k.CAFile == "" {
		d.errorf(at, "the guards show each other certificates: all three are needed", "cluster has not all of ca_file, cert_file and key_file")
	}
}

func checkPeer(d *document, k *Cluster, name string) {
	at := d.find(placeInMap{&k.Peers, name}, &k.Peers)
	address := k.Peers[name]
	if checkAddress(d, at, fmt.Sprintf("peers: %s", name), address); strings.HasPrefix(address, ":") {
		d.errorf(at, "write host:port, as the others reach it", "peers: %s has no host", name)
	}
}
