package fakekong

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// tableOf maps the first segment of a path to the table behind it.
var tableOf = map[string]string{
	"services": "services", "routes": "routes", "upstreams": "upstreams", "consumers": "consumers", "plugins": "plugins",
	"key-auths": "keyauth_credentials", "targets": "targets",
}

// answer finds the endpoint for a and asks it. The lock is held.
func (k *Kong) answer(a ask) reply {
	first := a.path[0]
	switch first {
	case "status":
		return k.methods(a, map[string]func() reply{"GET": k.status})
	case "schemas":
		return k.schemaEndpoint(a)
	case "config":
		return k.configEndpoint(a)
	}
	if k.faults.DatabaseDown {
		if first == "" {
			return refuse(&refusal{status: 500, message: "An unexpected error happened"})
		}
		return refuse(databaseDown())
	}
	switch first {
	case "":
		return k.methods(a, map[string]func() reply{"GET": k.root})
	case "endpoints":
		return k.methods(a, map[string]func() reply{"GET": func() reply { return ok(entity{"data": endpoints()}) }})
	case "tags":
		return k.tagsEndpoint(a)
	case "clustering":
		return refuse(badRequest(0, "", "this endpoint is only available when Kong is configured to run as Control Plane for the cluster", nil))
	case "debug":
		if slices.Equal(a.path, []string{"debug", "node", "log-level"}) {
			return ok(entity{"message": "log level: notice"})
		}
	case "proxy-cache":
		return proxyCacheEndpoint(a)
	}
	if first == "plugins" && len(a.path) == 2 && a.path[1] == "enabled" {
		return ok(entity{"enabled_plugins": pluginNames()})
	}
	table, known := tableOf[first]
	if !known {
		return refuse(notFound())
	}
	return k.tableEndpoint(table, a)
}

// proxyCacheEndpoint answers for an empty cache.
func proxyCacheEndpoint(a ask) reply {
	if a.method == http.MethodDelete && len(a.path) == 1 {
		return reply{status: http.StatusNoContent}
	}
	return reply{status: http.StatusNotFound, text: htmlPage(http.StatusNotFound), ctype: htmlType}
}

// tableEndpoint answers /{table}, /{table}/{key} and what lies below.
func (k *Kong) tableEndpoint(table string, a ask) reply {
	switch len(a.path) {
	case 1:
		return k.collection(table, a, nil)
	case 2:
		return k.single(table, a)
	}
	parent := k.db.find(table, a.path[1])
	child, singular := a.path[2], strings.TrimSuffix(table, "s")
	if !slices.Contains(childrenOf[table], child) || parent == nil {
		return refuse(notFound())
	}
	scope := entity{singular: entity{"id": parent["id"]}}
	switch {
	case table == "upstreams":
		return k.upstreamEndpoint(parent, a)
	case child == "service":
		service := k.db.tables["services"][refID(parent, "service")]
		if service == nil {
			return refuse(notFound())
		}
		return k.methods(a, map[string]func() reply{"GET": func() reply { return ok(service) }})
	case len(a.path) == 3:
		return k.collection(tableOf[child], a, scope)
	case len(a.path) == 4:
		return k.nested(tableOf[child], a, scope)
	}
	return refuse(notFound())
}

var childrenOf = map[string][]string{
	"services": {"routes", "plugins"}, "routes": {"service", "plugins"}, "consumers": {"plugins"}, "upstreams": {"targets", "health"},
}

// methods calls the handler for a's method; HEAD is answered as GET, OPTIONS with
// the list.
func (k *Kong) methods(a ask, handlers map[string]func() reply) reply {
	method := a.method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if h := handlers[method]; h != nil {
		return h()
	}
	if method != http.MethodOptions {
		return refuse(notAllowed())
	}
	allowed := []string{"OPTIONS"}
	for m := range handlers {
		allowed = append(allowed, m)
		if m == http.MethodGet {
			allowed = append(allowed, "HEAD")
		}
	}
	slices.Sort(allowed)
	return reply{status: http.StatusNoContent, allow: strings.Join(allowed, ", ")}
}

// writing reads a's body before it calls the handler.
func writing(a *ask, table string, handler func() reply) func() reply {
	return func() reply {
		if rep, failed := a.read(table); failed {
			return rep
		}
		return handler()
	}
}

// collection answers the list of a table, within the scope when there is one.
func (k *Kong) collection(table string, a ask, scope entity) reply {
	return k.methods(a, map[string]func() reply{
		"GET": func() reply {
			return k.page(table, a, func(e entity) bool {
				for name := range scope {
					if refID(e, name) != refID(scope, name) {
						return false
					}
				}
				id := a.query.Get("custom_id")
				return id == "" || table != "consumers" || e["custom_id"] == id
			})
		},
		"POST": writing(&a, table, func() reply {
			maps.Copy(a.body, scope)
			e, refused := k.insert(table, a.body)
			return answer(http.StatusCreated, e, refused)
		}),
	})
}

// single answers for one entity, found by id or name.
func (k *Kong) single(table string, a ask) reply {
	key := a.path[1]
	e := k.db.find(table, key)
	return k.methods(a, map[string]func() reply{
		"GET": func() reply {
			if e == nil {
				return refuse(notFound())
			}
			return ok(shown(table, e))
		},
		"PATCH": writing(&a, table, func() reply {
			if e == nil {
				return refuse(notFound())
			}
			return k.patch(table, e, a)
		}),
		"PUT": writing(&a, table, func() reply { return k.put(table, key, e, a) }),
		"DELETE": func() reply {
			if e == nil {
				return reply{status: http.StatusNoContent}
			}
			return k.delete(table, e)
		},
	})
}

// nested answers for one entity below another; it must belong to it.
func (k *Kong) nested(table string, a ask, scope entity) reply {
	key := a.path[3]
	e := k.db.find(table, key)
	owned := e != nil && matches(e, scope)
	return k.methods(a, map[string]func() reply{
		"GET": func() reply {
			if !owned {
				return refuse(notFound())
			}
			return ok(shown(table, e))
		},
		"PATCH": writing(&a, table, func() reply {
			if !owned {
				return refuse(notFound())
			}
			return k.patch(table, e, a)
		}),
		"PUT": writing(&a, table, func() reply {
			maps.Copy(a.body, scope)
			return k.put(table, key, e, a)
		}),
		"DELETE": func() reply {
			if !owned {
				return refuse(notFound())
			}
			return k.delete(table, e)
		},
	})
}

func (k *Kong) put(table, key string, e entity, a ask) reply {
	id := key
	switch {
	case isUUID(key):
	case e != nil:
		id = e["id"].(string)
		a.body[keyOf[table]] = key
	default:
		id = k.newUUID()
		a.body[keyOf[table]] = key
	}
	k.upserting = true
	saved, refused := k.replace(table, id, a.body)
	k.upserting = false
	return answer(http.StatusOK, saved, refused)
}

func (k *Kong) patch(table string, e entity, a ask) reply {
	if k.cfg.DBLess {
		by := ""
		if e["id"] != a.path[len(a.path)-1] && table != "targets" {
			by = " by '" + keyOf[table] + "'"
		}
		return refuse(unsupported("update", table, by))
	}
	saved, refused := k.update(table, e, a.body)
	return answer(http.StatusOK, saved, refused)
}

func (k *Kong) delete(table string, e entity) reply {
	if k.cfg.DBLess {
		return refuse(unsupported("remove", table, ""))
	}
	return answer(http.StatusNoContent, nil, k.remove(table, e))
}
