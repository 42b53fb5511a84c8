package kong

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions"
)

var _ actions.Shower = (*Executor)(nil)

// signMargin is what workers take beyond their ticks to switch: of a route, the old state
// was last seen 11.1 s after a change with two ticks of 5 s.
const signMargin = 2 * time.Second

// Sign implements actions.Shower. Of a change that another one lies on, and of one whose
// requests cannot be told from others, there is no sign.
func (e *Executor) Sign(ctx context.Context, a gatewarden.Action) (gatewarden.Sign, bool, error) {
	info, err := e.Info(ctx)
	if err != nil {
		return gatewarden.Sign{}, false, err
	}
	sign, ok := a.Spec.Sign()
	switch {
	case a.Spec.Weight != nil:
		sign, ok, err = e.drainSign(ctx, a)
	case a.Spec.Divert != nil, a.Spec.Service != nil:
		if ok {
			ok, err = e.onTop(ctx, a)
		}
	}
	if err != nil {
		return gatewarden.Sign{}, false, fmt.Errorf("asking Kong how the action %s shows: %w", a.ID, err)
	}
	sign.Within = info.within(a.Spec.Weight != nil)
	return sign, ok, nil
}

// within returns how long a change may take until it is in force on every node. Nodes of
// one database learn of it at their tick, and then their workers at theirs; only the
// node that was asked moves weights at once.
func (i *Info) within(weights bool) time.Duration {
	switch {
	case i.DBLess:
		return signMargin
	case weights && i.Role != "control_plane", i.Consistency == "strict":
		return i.Tick + signMargin
	default:
		return 2*i.Tick + signMargin
	}
}

// onTop reports whether the field of a step has the value that the step wants.
func (e *Executor) onTop(ctx context.Context, a gatewarden.Action) (bool, error) {
	m := &fieldMemo{}
	if found, err := decode(a, m); err != nil || !found {
		return false, err
	}
	now, there, err := e.field(ctx, m)
	return there && normal(now) == normal(m.Wanted), err
}

// drainSign returns the addresses of the targets that a step has taken out, and those of the
// rest.
func (e *Executor) drainSign(ctx context.Context, a gatewarden.Action) (sign gatewarden.Sign, ok bool, err error) {
	m := &weightMemo{}
	if found, err := decode(a, m); err != nil || !found {
		return sign, false, err
	}
	all, err := e.client.targets(ctx, m.Upstream)
	if err != nil {
		return sign, false, err
	}
	names, err := e.addresses(ctx, m.Upstream, all)
	if err != nil {
		return sign, false, err
	}
	sign = gatewarden.Sign{Text: fmt.Sprintf("first tries on other targets of upstream %s", a.Spec.Weight.Upstream), Every: true}
	for _, t := range all {
		list := names[t.Target]
		if list == nil {
			return sign, false, nil // in the log it has an address that nobody knows
		}
		switch {
		case t.Weight > 0:
			sign.Others = append(sign.Others, list...)
		case m.find(t.ID) != nil:
			sign.Targets = append(sign.Targets, list...)
		}
	}
	slices.Sort(sign.Targets) // Kong lists targets in the order of their random ids
	slices.Sort(sign.Others)
	return sign, len(sign.Targets) > 0 && disjoint(sign.Targets, sign.Others), nil
}

func disjoint(a, b []string) bool {
	in := map[string]bool{}
	for _, s := range a {
		in[s] = true
	}
	for _, s := range b {
		if in[s] {
			return false
		}
	}
	return true
}

// addresses returns the addresses behind each target of an upstream, as they are in Kong's
// log. What Kong's balancer knows of a name is asked for only when there is one.
func (e *Executor) addresses(ctx context.Context, upstream string, list []target) (map[string][]string, error) {
	out, named := map[string][]string{}, false
	for _, t := range list {
		host, _, err := net.SplitHostPort(t.Target)
		if err == nil && net.ParseIP(strings.Trim(host, "[]")) != nil {
			out[t.Target] = []string{t.Target}
		} else {
			named = true
		}
	}
	if !named {
		return out, nil
	}
	raw, err := e.client.do(ctx, http.MethodGet, "/upstreams/"+url.PathEscape(upstream)+"/health", nil, nil)
	if err != nil {
		return nil, err
	}
	var health struct {
		Data []struct {
			Target string `json:"target"`
			Data   struct {
				Addresses json.RawMessage `json:"addresses"` // a list, or {} when empty
			} `json:"data"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &health); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "the health that Kong tells is not readable: %w", err)
	}
	for _, t := range health.Data {
		var behind []struct {
			IP   string `json:"ip"`
			Port int    `json:"port"`
		}
		if json.Unmarshal(t.Data.Addresses, &behind) != nil || out[t.Target] != nil {
			continue
		}
		for _, b := range behind {
			out[t.Target] = append(out[t.Target], net.JoinHostPort(b.IP, fmt.Sprint(b.Port)))
		}
	}
	return out, nil
}
