package kong

import (
	"context"
	"fmt"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

var _ actions.Inspector = (*Executor)(nil)

// Inspect implements actions.Inspector.
func (e *Executor) Inspect(ctx context.Context, a gatewarden.Action) ([]string, error) {
	switch {
	case a.Spec.Puts() != nil:
		return e.inspectPlugin(ctx, a)
	case a.Spec.Weight != nil:
		return e.inspectWeight(ctx, a)
	case a.Spec.Divert != nil, a.Spec.Service != nil:
		return e.inspectField(ctx, a)
	default:
		return nil, nil
	}
}

func (e *Executor) inspectPlugin(ctx context.Context, a gatewarden.Action) ([]string, error) {
	m := &pluginMemo{}
	if found, err := decode(a, m); err != nil || !found {
		return nil, err
	}
	what := fmt.Sprintf("plugin %s %s", a.Spec.Puts().Name, where(a.Spec.Puts()))
	current, err := e.client.plugin(ctx, m.Plugin)
	if err != nil {
		return nil, err
	}
	if current == nil {
		return []string{what + " is gone"}, nil
	}
	if above, buried := e.buries(m, current); buried {
		return []string{fmt.Sprintf("%s was changed before %s was laid on it", what, above.action.ID)}, nil
	}
	if a.Spec.Adaptive != nil {
		return e.foreign(a, m, current, e.laidBeside(m, current))
	}
	return e.touched(a, m, current)
}

func (e *Executor) inspectWeight(ctx context.Context, a gatewarden.Action) (drift []string, err error) {
	m := &weightMemo{}
	if found, err := decode(a, m); err != nil || !found {
		return nil, err
	}
	now, err := e.current(ctx, m.Upstream)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		return []string{"upstream " + a.Spec.Weight.Upstream + " is gone"}, nil
	}
	if err != nil {
		return nil, err
	}
	all, self := e.weightsOf(m.Upstream), bare[int](&a)
	for _, t := range m.Targets {
		switch w, there := now[t.ID]; {
		case !there:
			drift = append(drift, t.Target+" is no longer in the upstream")
		case w != wantedWeight(a) && all.holder(&self, t.ID) == nil:
			drift = append(drift, fmt.Sprintf("the weight of %s is %d, not %d", t.Target, w, wantedWeight(a)))
		}
	}
	return drift, nil
}

func (e *Executor) inspectField(ctx context.Context, a gatewarden.Action) ([]string, error) {
	m := &fieldMemo{}
	if found, err := decode(a, m); err != nil || !found {
		return nil, err
	}
	now, there, err := e.field(ctx, m)
	all, self := e.fieldsOf(m), fieldLayer(&a, m)
	switch {
	case err != nil:
		return nil, err
	case !there:
		return []string{m.What + " is gone"}, nil
	case normal(now) != normal(m.Wanted) && all.holder(&self, m.place()) == nil:
		return []string{fmt.Sprintf("%s: %s → %s", m.What, m.Wanted, now)}, nil
	default:
		return nil, nil
	}
}
