package kongmetrics

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// address is where a node is asked.
type address struct {
	url  string
	host string // the Host header and the name of its certificate, "" for those of the url
}

// names resolves the names of nodes; net.Resolver does.
type names interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

var _ names = (*net.Resolver)(nil)

// discovery knows where the nodes are.
type discovery struct {
	settings *Settings
	names    names
	failed   func(name string, err error) // is told of names that could not be resolved

	known map[string][]address // by the item of the settings, as resolved last
}

// nodes returns where the nodes are now, in order and each once. A name that cannot be
// resolved has the addresses that it had before: a name server that is down takes no
// node away.
func (d *discovery) nodes(ctx context.Context) []address {
	if d.known == nil {
		d.known = map[string][]address{}
	}
	found := map[address]bool{}
	for _, target := range d.settings.Targets {
		found[address{url: target}] = true
	}
	for _, list := range []struct {
		items   []string
		resolve func(context.Context, *url.URL) ([]address, error)
	}{{d.settings.DNS, d.addresses}, {d.settings.SRV, d.services}} {
		for _, item := range list.items {
			u, err := url.Parse(item)
			if err != nil {
				continue // Settings.Validate has said so
			}
			resolved, err := list.resolve(ctx, u)
			if err != nil {
				d.failed(u.Hostname(), err)
			} else {
				d.known[item] = resolved
			}
			for _, a := range d.known[item] {
				found[a] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b address) int { return strings.Compare(a.url+a.host, b.url+b.host) })
}

// addresses returns a node for each address of the URL's host.
func (d *discovery) addresses(ctx context.Context, u *url.URL) ([]address, error) {
	ips, err := d.names.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, err
	}
	list := make([]address, 0, len(ips))
	for _, ip := range ips {
		at := *u
		at.Host = ip.Unmap().String()
		switch port := u.Port(); {
		case port != "":
			at.Host = net.JoinHostPort(at.Host, port)
		case ip.Unmap().Is6():
			at.Host = "[" + at.Host + "]"
		}
		list = append(list, address{at.String(), u.Host})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no address", u.Hostname())
	}
	return list, nil
}

// services returns a node for each SRV record of the URL's host.
func (d *discovery) services(ctx context.Context, u *url.URL) ([]address, error) {
	_, records, err := d.names.LookupSRV(ctx, "", "", u.Hostname())
	if err != nil && len(records) == 0 {
		return nil, err
	}
	list := make([]address, 0, len(records))
	for _, r := range records {
		at := *u
		at.Host = net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
		list = append(list, address{url: at.String()})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no SRV record", u.Hostname())
	}
	return list, nil
}
