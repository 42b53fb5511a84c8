package fakekong

import (
	"encoding/json"
	"maps"
	"net/http"
	"sync"
)

// captured returns a captured answer as an object, parsed once for all gateways.
var captured = sync.OnceValue(func() map[string]entity {
	all := map[string]entity{}
	for _, name := range append(pluginFiles(), "root", "status", "targets") {
		b, err := schemaFiles.ReadFile("schemas/" + name + ".json")
		if err != nil {
			panic(err)
		}
		var e entity
		if err := json.Unmarshal(b, &e); err != nil {
			panic(err)
		}
		all[name] = e
	}
	return all
})

// pluginNames are the plugins that this Kong has, all of them enabled.
var pluginNames = sync.OnceValue(func() []string {
	list, _ := lookup(captured()["root"], "configuration.plugins")
	var names []string
	for _, name := range list.([]any) {
		names = append(names, name.(string))
	}
	return names
})

func (k *Kong) root() reply {
	root := maps.Clone(captured()["root"])
	config := maps.Clone(root["configuration"].(entity))
	if k.cfg.DBLess {
		config["database"] = "off"
	}
	if k.cfg.Strict {
		config["worker_consistency"] = "strict"
	}
	config["worker_state_update_frequency"] = k.cfg.Tick.Seconds()
	config["db_update_frequency"] = k.cfg.Tick.Seconds()
	root["configuration"], root["node_id"] = config, k.nodeID
	enabled := map[string]bool{}
	for _, p := range k.db.tables["plugins"] {
		enabled[p["name"].(string)] = true
	}
	var names []any
	for _, name := range pluginNames() {
		if enabled[name] {
			names = append(names, name)
		}
	}
	plugins := maps.Clone(root["plugins"].(entity))
	plugins["enabled_in_cluster"] = names
	if names == nil {
		plugins["enabled_in_cluster"] = []any{}
	}
	root["plugins"] = plugins
	return ok(root)
}

func (k *Kong) status() reply {
	s := maps.Clone(captured()["status"])
	server := maps.Clone(s["server"].(entity))
	n := float64(k.requests.Load())
	server["total_requests"], server["connections_accepted"], server["connections_handled"] = n, n, n
	s["server"] = server
	if k.cfg.DBLess {
		s["configuration_hash"] = k.configHash()
		delete(s, "database")
		return ok(s)
	}
	s["database"] = entity{"reachable": !k.faults.DatabaseDown}
	return ok(s)
}

// schemaEndpoint answers below /schemas.
func (k *Kong) schemaEndpoint(a ask) reply {
	switch {
	case len(a.path) == 3 && a.path[1] == "plugins" && a.path[2] == "validate":
		return k.methods(a, map[string]func() reply{"POST": writing(&a, "plugins", func() reply { return k.validatePlugin(a.body) })})
	case len(a.path) == 3 && a.path[1] == "plugins":
		s := captured()["plugin-"+a.path[2]]
		if s == nil {
			return refuse(&refusal{status: http.StatusNotFound, message: "No plugin named '" + a.path[2] + "'"})
		}
		if k.cfg.DBLess && a.path[2] == "rate-limiting" {
			s = withoutCluster(s)
		}
		return ok(s)
	case len(a.path) == 2 && a.path[1] == "targets":
		return ok(captured()["targets"])
	}
	return refuse(notFound())
}

// withoutCluster drops the policy that needs a database.
func withoutCluster(s entity) entity {
	s = clone(s)
	for _, f := range s["fields"].([]any) {
		config, _ := lookup(f.(entity), "config.fields")
		fields, _ := config.([]any)
		for _, inner := range fields {
			if policy, ok := inner.(entity)["policy"].(entity); ok {
				policy["one_of"] = []any{"local", "redis"}
			}
		}
	}
	return s
}

// validatePlugin checks a plugin without saving it. References are not looked up.
func (k *Kong) validatePlugin(body entity) reply {
	e := clone(body)
	if refused := prepare("plugins", e); refused != nil {
		return refuse(refused)
	}
	k.stamp("plugins", e, nil)
	fields := fieldsFor("plugins", e)
	fill(fields, e)
	if refused := k.check("plugins", fields, e); refused != nil {
		return refuse(refused)
	}
	return ok(entity{"message": "schema validation successful"})
}

// endpoints lists the endpoints that this stand-in has.
func endpoints() []string {
	list := []string{"/", "/config", "/endpoints", "/plugins/enabled", "/schemas/plugins/validate", "/schemas/plugins/{name}", "/status", "/tags", "/tags/{tags}"}
	for first, table := range tableOf {
		list = append(list, "/"+first, "/"+first+"/{"+table+"}")
		for _, child := range childrenOf[table] {
			list = append(list, "/"+first+"/{"+table+"}/"+child)
		}
	}
	return list
}
