package kong

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

var (
	_ actions.Executor      = (*Executor)(nil)
	_ actions.OrphanRemover = (*Executor)(nil)
	_ actions.Layered       = (*Executor)(nil)
)

// Config says which Kong to change. AdminURL is needed.
type Config struct {
	AdminURL   string
	Token      string            // sent as Kong-Admin-Token; "" sends none
	Workspace  string            // of an enterprise Kong
	DBLess     bool              // it has no database: changes are made by way of its whole configuration
	Guard      string            // marks plugins as those of the guards of one state; "" marks none
	Observes   bool              // what nobody accounts for is told, and not removed
	Timeout    time.Duration     // of one request, 5 s unless set
	Transport  http.RoundTripper // http.DefaultTransport's settings unless set
	Logger     *slog.Logger      // discarded when nil
	Registerer prometheus.Registerer
}

// Executor changes one Kong. It is safe for concurrent use.
type Executor struct {
	client *client
	log    *slog.Logger
	guard  string
	others []gatewarden.Action // the changes that lie around the one of a call

	observes bool
}

// New returns an Executor. It does not call Kong. An AdminURL that is none is
// Invalid.
func New(c Config) (*Executor, error) {
	client, err := newClient(c, newMetrics(c.Registerer))
	if err != nil {
		return nil, err
	}
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Executor{client: client, log: log, guard: c.Guard, observes: c.Observes}, nil
}

// Among implements actions.Layered.
func (e *Executor) Among(others []gatewarden.Action) actions.Executor {
	among := *e
	among.others = others
	return &among
}

// Prepare implements actions.Executor: it looks up what the step names and
// remembers what is there.
func (e *Executor) Prepare(ctx context.Context, a gatewarden.Action) (json.RawMessage, error) {
	switch a.Spec.Kind {
	case gatewarden.StepPlugin:
		m, err := e.preparePlugin(ctx, a)
		return encode(m, err)
	case gatewarden.StepAdaptive:
		m, err := e.preparePlugin(ctx, asPlugin(a))
		return encode(m, err)
	case gatewarden.StepWeight, gatewarden.StepDrain:
		m, err := e.prepareWeight(ctx, a)
		return encode(m, err)
	case gatewarden.StepShare:
		m, err := e.prepareShare(ctx, a)
		return encode(m, err)
	case gatewarden.StepDivert, gatewarden.StepService:
		m, err := e.prepareField(ctx, a)
		return encode(m, err)
	default:
		return nil, notMine(a)
	}
}

// Apply implements actions.Executor.
func (e *Executor) Apply(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	e, leave, err := e.alone(ctx)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	defer leave()
	if err := actions.Held(ctx); err != nil { // without a database it may have waited long for its turn
		return gatewarden.Outcome{}, err
	}
	switch a.Spec.Kind {
	case gatewarden.StepPlugin:
		return e.applyPlugin(ctx, a, save)
	case gatewarden.StepAdaptive:
		return e.applyAdaptive(ctx, a, save)
	case gatewarden.StepWeight, gatewarden.StepDrain:
		return e.applyWeight(ctx, a, save)
	case gatewarden.StepShare:
		return e.applyShare(ctx, a, save)
	case gatewarden.StepDivert, gatewarden.StepService:
		return e.applyField(ctx, a, save)
	default:
		return gatewarden.Outcome{}, notMine(a)
	}
}

// Revert implements actions.Executor.
func (e *Executor) Revert(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	e, leave, err := e.alone(ctx)
	if err != nil {
		return gatewarden.Outcome{}, err
	}
	defer leave()
	switch a.Spec.Kind {
	case gatewarden.StepPlugin:
		return e.revertPlugin(ctx, a)
	case gatewarden.StepAdaptive:
		return e.revertAdaptive(ctx, a)
	case gatewarden.StepWeight, gatewarden.StepDrain:
		return e.revertWeight(ctx, a)
	case gatewarden.StepShare:
		return e.revertShare(ctx, a)
	case gatewarden.StepDivert, gatewarden.StepService:
		return e.revertField(ctx, a)
	default:
		return gatewarden.Outcome{}, notMine(a)
	}
}

func notMine(a gatewarden.Action) error {
	return gatewarden.Errorf(gatewarden.Internal, "action %s: a %s step is not for Kong", a.ID, a.Spec.Kind)
}

func encode(v any, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Internal, "writing the memo: %w", err)
	}
	return b, nil
}

func decode(a gatewarden.Action, v any) (found bool, err error) {
	if len(a.Memo) == 0 || string(a.Memo) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(a.Memo, v); err != nil {
		return false, gatewarden.Errorf(gatewarden.Internal, "the memo of action %s is not readable: %w", a.ID, err)
	}
	return true, nil
}

// memoOf returns the action's memo; one that has none gets one, and it is saved.
func memoOf[M any](
	ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error, prepare func(context.Context, gatewarden.Action) (*M, error),
) (*M, error) {
	m := new(M)
	found, err := decode(a, m)
	if err != nil || found {
		return m, err
	}
	if m, err = prepare(ctx, a); err != nil {
		return nil, err
	}
	return m, saveMemo(m, save)
}

func saveMemo(m any, save func(json.RawMessage) error) error {
	raw, err := encode(m, nil)
	if err != nil {
		return err
	}
	return save(raw)
}
