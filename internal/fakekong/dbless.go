package fakekong

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// configEndpoint answers /config: the declarative configuration of a Kong without
// a database.
func (k *Kong) configEndpoint(a ask) reply {
	if !k.cfg.DBLess {
		return refuse(badRequest(0, "", "this endpoint is only available when Kong is configured to not use a database", nil))
	}
	return k.methods(a, map[string]func() reply{
		"GET":  k.exportConfig,
		"POST": func() reply { return k.importConfig(a) },
	})
}

func (k *Kong) configHash() string {
	if k.dbHash == "" {
		return strings.Repeat("0", 32)
	}
	return k.dbHash
}

// exportConfig writes the entities as YAML, as /config does.
func (k *Kong) exportConfig() reply {
	doc := map[string]any{"_format_version": "3.0", "_transform": false}
	for _, table := range tableNames {
		var rows []entity
		for _, e := range k.db.list(table, nil) {
			e = clone(shown(table, e))
			for name := range e {
				if id := refID(e, name); id != "" {
					e[name] = id
				}
			}
			rows = append(rows, e)
		}
		if rows != nil {
			doc[table] = rows
		}
	}
	b, err := yaml.Marshal(doc)
	if err != nil {
		panic(err) // the entities came as JSON, which YAML can write
	}
	return ok(entity{"config": string(b)})
}

// declarativeError is how /config refuses.
func declarativeError(fields entity) reply {
	message := "declarative config is invalid: " + luaTable(fields, "", "", "=", "")
	return refuse(badRequest(14, "invalid declarative configuration", message, entity{"fields": fields}))
}

// importConfig replaces everything by the configuration in a.
func (k *Kong) importConfig(a ask) reply {
	doc, rep, failed := parseConfig(a)
	if failed {
		return rep
	}
	sum := md5.Sum(fmt.Append(nil, string(appendJSON(nil, doc))))
	hash := hex.EncodeToString(sum[:])
	if a.query.Get("check_hash") == "1" && hash == k.dbHash {
		return reply{status: http.StatusNotModified}
	}
	switch doc["_format_version"] {
	case nil:
		return declarativeError(entity{"_format_version": "required field missing"})
	case "1.1", "2.1", "3.0":
	default:
		return declarativeError(entity{"_format_version": "expected one of: 1.1, 2.1, 3.0"})
	}
	previous := k.db
	k.db, k.loading = newDatabase(), true
	err := k.loadDocument(doc)
	k.loading = false
	if err != nil {
		k.db = previous
		return *err
	}
	k.dbHash = hash
	k.views = []*view{k.db.view(k.cfg.Now(), true)} // in force at once
	body := entity{}
	for _, table := range tableNames {
		rows := entity{}
		for _, e := range k.db.list(table, nil) {
			rows[e["id"].(string)] = shown(table, e)
		}
		if len(rows) > 0 {
			body[table] = rows
		}
	}
	return reply{status: http.StatusCreated, body: body}
}

// parseConfig reads JSON, YAML in JSON, or plain YAML.
func parseConfig(a ask) (entity, reply, bool) {
	text := string(a.raw)
	if kind, _, _ := mime.ParseMediaType(a.ctype); kind != "text/yaml" {
		var v any
		if json.Unmarshal(a.raw, &v) != nil {
			return nil, refuse(badRequest(0, "", "Cannot parse JSON body", nil)), true
		}
		doc, _ := v.(entity)
		inner, isText := doc["config"].(string)
		if !isText {
			return doc, reply{}, false
		}
		text = inner
	}
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return nil, declarativeError(entity{"error": "failed parsing declarative configuration: 1:1: did not find expected key"}), true
	}
	b, err := json.Marshal(v) // gives numbers the type that JSON has
	var doc entity
	if err != nil || json.Unmarshal(b, &doc) != nil {
		return nil, declarativeError(entity{"error": "expected an object"}), true
	}
	return doc, reply{}, false
}

// nestedIn are the tables whose entities may be declared inside others.
var nestedIn = map[string][]string{
	"upstreams": {"targets"}, "services": {"routes", "plugins"}, "routes": {"plugins"}, "consumers": {"keyauth_credentials", "plugins"},
}

func (k *Kong) loadDocument(doc entity) *reply {
	wrong := entity{}
	for name := range doc {
		if !strings.HasPrefix(name, "_") && !slices.Contains(tableNames, name) {
			wrong[name] = "unknown field"
		}
	}
	for _, table := range tableNames {
		list, _ := doc[table].([]any)
		errs, rep := k.loadList(table, list, nil)
		if rep != nil {
			return rep
		}
		if errs != nil {
			wrong[table] = errs
		}
	}
	if len(wrong) > 0 {
		rep := declarativeError(uniquenessLast(wrong))
		return &rep
	}
	return nil
}

// uniquenessLast drops what is not unique when something else is wrong: Kong looks
// for it only in a configuration that is right otherwise.
func uniquenessLast(wrong entity) entity {
	rest := entity{}
	for table, v := range wrong {
		list, isList := v.([]any)
		if !isList {
			rest[table] = v
			continue
		}
		last := 0
		kept := make([]any, len(list))
		for i, item := range list {
			if text, isText := item.(string); item != nil && (!isText || !strings.HasPrefix(text, "uniqueness")) {
				kept[i], last = item, i+1
			}
		}
		if last > 0 {
			rest[table] = kept[:last]
		}
	}
	if len(rest) == 0 {
		return wrong
	}
	return rest
}

// loadList declares entities and those inside them; it returns what is wrong with
// them, by position.
func (k *Kong) loadList(table string, list []any, scope entity) ([]any, *reply) {
	var errs []any
	for i, item := range list {
		wrong, rep := k.loadItem(table, item, scope)
		if rep != nil {
			return nil, rep
		}
		if wrong != nil {
			errs = append(append(errs, make([]any, i-len(errs))...), wrong)
		}
	}
	return errs, nil
}

func (k *Kong) loadItem(table string, item any, scope entity) (any, *reply) {
	e, isObject := item.(entity)
	if !isObject {
		return "expected a record", nil
	}
	e = clone(e)
	inner := map[string][]any{}
	for _, child := range nestedIn[table] {
		inner[child], _ = e[child].([]any)
		delete(e, child)
	}
	maps.Copy(e, scope)
	for _, f := range schemas()[table].fields {
		if name, byName := e[f.name].(string); byName && f.Type == "foreign" {
			other := k.db.find(f.Reference, name)
			if other == nil {
				down := refuse(databaseDown()) // a dangling name is an unexpected error in the real one, too
				return nil, &down
			}
			e[f.name] = entity{"id": other["id"]}
		}
	}
	saved, refused := k.insert(table, e)
	wrong := entity{}
	switch {
	case refused == nil:
	case refused.code == 5:
		key := keyOf[table]
		return fmt.Sprintf("uniqueness violation: '%s' entity with %s set to '%v' already declared", table, key, e[key]), nil
	default:
		wrong, _ = refused.more["fields"].(entity)
	}
	for child, list := range inner {
		ref := entity{}
		if saved != nil {
			ref[strings.TrimSuffix(table, "s")] = entity{"id": saved["id"]}
		}
		errs, rep := k.loadList(child, list, ref)
		if rep != nil {
			return nil, rep
		}
		if errs != nil {
			wrong[child] = errs
		}
	}
	if len(wrong) > 0 {
		return wrong, nil
	}
	return nil, nil
}
