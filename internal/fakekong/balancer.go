package fakekong

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// wheel is a worker's shuffled round of an upstream's targets, each as often as
// its weight says. It is turned, not drawn from: a canary of weight 10 among 100
// gets exactly 10 of each 100 requests of a worker.
type wheel struct {
	made   string // of these targets and weights
	order  []int  // indices into the targets, oldest first
	cursor int
}

// peer is where a try goes. Its target is nil when there is no upstream.
type peer struct {
	ip     string
	port   int
	target entity
}

func (p *peer) address() string { return net.JoinHostPort(p.ip, strconv.Itoa(p.port)) }

// balancerError is why there is nobody to ask, in Kong's words.
type balancerError string

func (e balancerError) Error() string { return string(e) }

const (
	errNoPeer balancerError = "failure to get a peer from the ring-balancer"
	errNoName balancerError = "name resolution failed"
)

// pickPeer returns the next peer of a service for the worker, and the upstream it
// belongs to.
func (k *Kong) pickPeer(service entity, worker int) (*peer, entity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	host := service["host"].(string)
	up := k.db.find("upstreams", host)
	if up == nil || up["name"] != host {
		if !resolvable(host) {
			return nil, nil, errNoName
		}
		return &peer{ip: ipOf(host), port: int(service["port"].(float64))}, nil, nil
	}
	id := up["id"].(string)
	targets := k.db.list("targets", func(t entity) bool { return refID(t, "upstream") == id })
	w := k.wheelFor(fmt.Sprintf("%d|%s", worker, id), targets)
	for range w.order {
		t := targets[w.order[w.cursor]]
		w.cursor = (w.cursor + 1) % len(w.order)
		targetHost, port, _ := net.SplitHostPort(t["target"].(string))
		if !resolvable(targetHost) || checksHealth(up) && k.healthOf(t).unhealthy {
			continue
		}
		n, _ := strconv.Atoi(port)
		return &peer{ip: ipOf(targetHost), port: n, target: t}, up, nil
	}
	return nil, up, errNoPeer
}

// wheelFor returns the wheel of that key, made anew when a target or a weight
// changed. The lock is held.
func (k *Kong) wheelFor(key string, targets []entity) *wheel {
	var b strings.Builder
	divisor := 0
	for _, t := range targets {
		n := int(t["weight"].(float64))
		fmt.Fprintf(&b, "%s=%d;", t["id"], n)
		divisor = gcd(divisor, n)
	}
	made := b.String()
	if w := k.wheels[key]; w != nil && w.made == made {
		return w
	}
	w := &wheel{made: made}
	for i, t := range targets {
		for range int(t["weight"].(float64)) / max(divisor, 1) {
			w.order = append(w.order, i)
		}
	}
	k.rng.Shuffle(len(w.order), func(i, j int) { w.order[i], w.order[j] = w.order[j], w.order[i] })
	if len(w.order) > 0 {
		w.cursor = k.rng.IntN(len(w.order))
	}
	k.wheels[key] = w
	return w
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
