package elasticsearch

import (
	"context"

	"github.com/gatewarden/gatewarden/collector"
)

// Index is how an index is made, as a source reads it.
type Index struct {
	How    string // where Kong's object is, and by what its documents are followed
	Number bool   // the event time is a number and no date
}

// Examine looks at an index once, as a source with these settings would. The error has the
// code NotFound when no index of the pattern has documents of Kong's log yet.
func Examine(ctx context.Context, env collector.Env, settings Settings) (Index, error) {
	s, err := New(env, settings)
	if err != nil {
		return Index{}, err
	}
	l, err := s.(*Source).look(ctx)
	if err == nil && settings.Read == readBuckets {
		err = l.problem
	}
	if err != nil {
		return Index{}, err
	}
	return Index{How: l.String(), Number: !l.time.isDate()}, nil
}
