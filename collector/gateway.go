package collector

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// Gateway takes what nodes of the gateway say of themselves: how many requests they
// counted, against which the records of logs are checked, and how they are.
type Gateway interface {
	// Saw is told of each look at a node, also of one that got no answer. It keeps
	// nothing of the look's maps and lists.
	Saw(source string, look Look)
	// Gone is told when a node is asked no more.
	Gone(source, address string)
}

// Look is one look at a node of the gateway.
type Look struct {
	Node gatewarden.Node
	// Since is when the look before was, whose counters these are compared with. It is
	// zero when there is nothing to compare with: at the first look at a node, and when
	// it gave no answer.
	Since time.Time
	// Requests is how many requests the node counted since then, by service and in the
	// words of Record.Service. Requests without a service are not among them.
	Requests map[string]uint64
	// Counts says whether the node counts requests by service at all.
	Counts bool
}
