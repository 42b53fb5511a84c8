package main

import (
	"net/http/httptest"
	"testing"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/kong"
	"github.com/gatewarden/gatewarden/internal/fakekong"
	"github.com/gatewarden/gatewarden/rules"
)

// TestKongTakesThePresets asks a gateway that has what the presets name whether each of
// their steps would work: its schemas are those of a real Kong.
func TestKongTakesThePresets(t *testing.T) {
	t.Parallel()
	set, problems := rules.LoadRules([]string{"../../examples/presets"})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	gateway := fakekong.New(fakekong.Config{Seed: 1})
	t.Cleanup(gateway.Close)
	if err := gateway.Load(shopOf(set.Policies)); err != nil {
		t.Fatal(err)
	}
	admin := httptest.NewServer(gateway.Admin())
	t.Cleanup(admin.Close)
	e, err := kong.New(kong.Config{AdminURL: admin.URL})
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, p := range set.Policies {
		for i, s := range p.Steps {
			steps++
			if err := e.Preflight(t.Context(), s); err != nil {
				t.Errorf("step %d of %s: %v", i+1, p.Name, err)
			}
		}
	}
	if steps < 8 {
		t.Errorf("only %d steps were looked at", steps)
	}
}

// shopOf is a gateway with every service and route that the steps name.
func shopOf(policies []gatewarden.ActionPolicy) fakekong.Setup {
	services, routes := map[string]bool{}, map[string]bool{}
	for _, p := range policies {
		for _, s := range p.Steps {
			if plugin := s.Puts(); plugin != nil {
				services[plugin.Service], routes[plugin.Route] = true, true
			}
			if s.Divert != nil {
				services[s.Divert.To], routes[s.Divert.Route] = true, true
			}
		}
	}
	delete(services, "")
	delete(routes, "")
	var shop fakekong.Setup
	for name := range services {
		shop.Services = append(shop.Services, fakekong.Service{Name: name, URL: "http://127.0.0.1:9"})
	}
	all := fakekong.Service{Name: "all", URL: "http://127.0.0.1:9"}
	for name := range routes {
		all.Routes = append(all.Routes, fakekong.Route{Name: name, Paths: []string{"/" + name}})
	}
	shop.Services = append(shop.Services, all)
	return shop
}
