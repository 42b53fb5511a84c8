package kong

import "context"

// Target is one target of an upstream.
type Target struct {
	Target string // "10.0.0.7:8080", as Kong lists it
	Weight int
	Tags   []string
}

// Targets lists the targets of an upstream, named by its name or id, on all its pages.
// Errors: NotFound when there is no such upstream, Unavailable when Kong does not answer.
func (e *Executor) Targets(ctx context.Context, upstream string) ([]Target, error) {
	up, err := e.client.named(ctx, "upstream", "upstreams", "name", upstream)
	if err != nil {
		return nil, err
	}
	all, err := e.client.targets(ctx, stringIn(up, "id"))
	if err != nil {
		return nil, err
	}
	out := make([]Target, len(all))
	for i, t := range all {
		out[i] = Target{Target: t.Target, Weight: t.Weight, Tags: t.Tags}
	}
	return out, nil
}
