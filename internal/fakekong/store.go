package fakekong

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// database holds the entities by table and id. A stored entity is never changed,
// only replaced, so that views can share it.
type database struct {
	tables  map[string]map[string]entity
	created map[string]time.Time // exact, of upstreams
}

// tableNames are the tables in the order in which an entity's references come
// first.
var tableNames = []string{"upstreams", "targets", "consumers", "keyauth_credentials", "services", "routes", "plugins"}

// keyOf is the field besides the id that names an entity in paths.
var keyOf = map[string]string{
	"services": "name", "routes": "name", "upstreams": "name", "consumers": "username", "plugins": "instance_name", "targets": "target", "keyauth_credentials": "key",
}

func newDatabase() *database {
	db := &database{tables: map[string]map[string]entity{}, created: map[string]time.Time{}}
	for _, name := range tableNames {
		db.tables[name] = map[string]entity{}
	}
	return db
}

// view is what workers route by: the entities that reach them by ticks.
type view struct {
	committed time.Time
	initial   bool // in force from the start
	tables    map[string]map[string]entity
}

// view returns the present state of what reaches workers by ticks. Upstreams and
// targets do not: they are in force at once.
func (db *database) view(at time.Time, initial bool) *view {
	v := &view{committed: at, initial: initial, tables: map[string]map[string]entity{}}
	for _, name := range []string{"services", "routes", "plugins", "consumers", "keyauth_credentials"} {
		v.tables[name] = maps.Clone(db.tables[name])
	}
	return v
}

// find returns the entity with the id or the name.
func (db *database) find(table, key string) entity {
	if e := db.tables[table][key]; e != nil {
		return e
	}
	for _, e := range db.tables[table] {
		if e[keyOf[table]] == key {
			return e
		}
	}
	return nil
}

// findTarget returns a target of an upstream by its id or its address; the port
// may be missing from it when it is the default.
func (db *database) findTarget(upstreamID, key string) entity {
	for _, t := range db.tables["targets"] {
		if refID(t, "upstream") == upstreamID && (t["id"] == key || t["target"] == key || t["target"] == key+":8000") {
			return t
		}
	}
	return nil
}

// list returns a table sorted as Kong pages through it: by id, targets from the
// newest.
func (db *database) list(table string, keep func(entity) bool) []entity {
	var out []entity
	for _, e := range db.tables[table] {
		if keep == nil || keep(e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b entity) int {
		if table == "targets" && a["created_at"] != b["created_at"] {
			if a["created_at"].(float64) > b["created_at"].(float64) {
				return -1
			}
			return 1
		}
		if table == "targets" {
			a, b = b, a
		}
		return strings.Compare(a["id"].(string), b["id"].(string))
	})
	return out
}

// refID returns the id that a foreign key of e holds, "" when it is null.
func refID(e entity, name string) string {
	ref, _ := e[name].(entity)
	id, _ := ref["id"].(string)
	return id
}

// newUUID returns a random UUID of version 4 from the gateway's own sequence.
func (k *Kong) newUUID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.rng.Uint64())
	binary.BigEndian.PutUint64(b[8:], k.rng.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// derivedUUID returns an id that is the same whenever the same entity is declared.
// A Kong without a database does that too, in a way of its own.
func derivedUUID(table string, e entity) string {
	sum := sha1.Sum(appendJSON([]byte(table), pick(e, "name", "username", "target", "key", "upstream", "service", "route", "consumer")))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", rune(s[i])) {
			return false
		}
	}
	return true
}

// insert adds e to the table and returns it as it is shown.
func (k *Kong) insert(table string, e entity) (entity, *refusal) {
	if id, given := e["id"].(string); given && k.db.tables[table][id] != nil {
		return nil, badRequest(3, "primary key violation", "primary key violation on key '"+luaKey(entity{"id": id})+"'", entity{"fields": entity{"id": id}})
	}
	return k.save(table, clone(e), nil)
}

// update merges patch into old, an entity of the table.
func (k *Kong) update(table string, old, patch entity) (entity, *refusal) {
	merged := merge(fieldsFor(table, old), old, patch)
	return k.save(table, merged, old)
}

// replace puts e in the place of the entity with the id, or adds it.
func (k *Kong) replace(table, id string, e entity) (entity, *refusal) {
	e = clone(e)
	e["id"] = id
	return k.save(table, e, nil)
}

// save completes, checks and stores e. old is the entity it was made from by a
// PATCH, nil for a POST or a PUT.
func (k *Kong) save(table string, e, old entity) (entity, *refusal) {
	if refused := prepare(table, e); refused != nil {
		return nil, refused
	}
	if refused := k.resolve(table, e); refused != nil {
		return nil, refused
	}
	k.stamp(table, e, old)
	fields := fieldsFor(table, e)
	fill(fields, e)
	if k.cfg.DBLess && table == "keyauth_credentials" {
		delete(e, "ttl")
	}
	if refused := k.check(table, fields, e); refused != nil {
		return nil, refused
	}
	if k.cfg.DBLess && !k.loading {
		verb := "create"
		switch {
		case old != nil:
			verb = "update"
		case k.upserting:
			verb = "create or update"
		}
		return nil, unsupported(verb, table, "")
	}
	if refused := k.checkReferences(table, e); refused != nil {
		return nil, refused
	}
	if refused := k.checkUnique(table, e); refused != nil {
		return nil, refused
	}
	k.db.tables[table][e["id"].(string)] = e
	if table == "upstreams" && old == nil {
		k.db.created[e["id"].(string)] = k.cfg.Now()
	}
	k.changed(table)
	return shown(table, e), nil
}

// changed notes that a table was written, for the workers' next ticks.
func (k *Kong) changed(table string) {
	if table == "upstreams" || table == "targets" {
		return
	}
	now := k.cfg.Now()
	k.viewOf(0, now) // forgets what no worker needs any more
	k.views = append(k.views, k.db.view(now, false))
}

// prepare turns what may be written into what is stored.
func prepare(table string, e entity) *refusal {
	switch table {
	case "services":
		return splitURL(e)
	case "targets":
		return normalizeTarget(e)
	case "plugins":
		name, ok := e["name"].(string)
		if e["name"] == nil {
			return schemaViolation(violations{"name": "required field missing"})
		}
		if !ok || !slices.Contains(pluginNames(), name) {
			return schemaViolation(violations{"name": fmt.Sprintf("plugin '%v' not enabled; add it to the 'plugins' configuration property", e["name"])})
		}
		if list, isList := e["config"].([]any); isList && len(list) == 0 {
			e["config"] = entity{} // Lua cannot tell them apart
		}
		if config, isRecord := e["config"].(entity); isRecord {
			readShorthands(shorthandsOf(name), config)
		}
	}
	return nil
}

func normalizeTarget(e entity) *refusal {
	if weight, given := e["weight"]; given && weight == nil {
		delete(e, "weight") // so that the default stands
	}
	address, ok := e["target"].(string)
	if !ok {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "8000"
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 || host == "" || strings.ContainsAny(host, " /?#") {
		return schemaViolation(violations{"target": "Invalid target; not a valid hostname or ip address"})
	}
	e["target"] = net.JoinHostPort(host, port)
	return nil
}

// stamp sets the id and the times. A created_at that is given stays, as in Kong,
// whose automatic fields are set when they are missing; updated_at is always now.
func (k *Kong) stamp(table string, e, old entity) {
	now := float64(k.cfg.Now().Unix())
	if table == "targets" {
		now = math.Round(float64(k.cfg.Now().UnixMilli())) / 1000
	}
	if e["id"] == nil {
		e["id"] = k.newUUID()
		if id := derivedUUID(table, e); k.cfg.DBLess && k.db.tables[table][id] == nil {
			e["id"] = id
		}
	}
	if e["created_at"] == nil {
		e["created_at"] = now
	}
	if table != "keyauth_credentials" {
		e["updated_at"] = now
	}
	if old != nil {
		e["created_at"] = old["created_at"]
	}
}

// fieldsFor returns the fields of an entity of the table; those of a plugin
// depend on its name.
func fieldsFor(table string, e entity) []*field {
	fields := schemas()[table].fields
	if table != "plugins" {
		return fields
	}
	name, _ := e["name"].(string)
	own := pluginSchema(name)
	if own == nil {
		return withDefaultProtocols(fields)
	}
	fields = slices.Clone(fields)
	for i, f := range fields {
		if mine := own.field(f.name); mine != nil {
			fields[i] = mine
		}
	}
	return fields
}

func withDefaultProtocols(fields []*field) []*field {
	fields = slices.Clone(fields)
	protocols := pluginSchema("cors").field("protocols")
	for i, f := range fields {
		if f.name == "protocols" {
			fields[i] = protocols
		}
	}
	return fields
}

func (k *Kong) check(table string, fields []*field, e entity) *refusal {
	if refused := k.checkProtocols(table, e); refused != nil {
		return refused
	}
	wrong := validate(fields, e)
	checks := schemas()[table].checks
	name, _ := e["name"].(string)
	if own := pluginSchema(name); table == "plugins" && own != nil {
		checks = own.checks
	}
	if len(wrong) == 0 {
		checkEntity(checks, e, wrong)
	}
	if config, ok := e["config"].(entity); ok && table == "plugins" && len(wrong) == 0 {
		checkPlugin(name, config, wrong)
	}
	if table == "routes" && len(wrong) == 0 && countSet(e, routeRules) == 0 && speaksHTTP(e) {
		wrong["@entity"] = []any{"must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"}
	}
	if len(wrong) > 0 {
		return schemaViolation(wrong)
	}
	return nil
}

// routeRules are what a route may match by.
var routeRules = []string{"methods", "hosts", "headers", "paths", "snis"}

func speaksHTTP(route entity) bool {
	protocols, _ := route["protocols"].([]any)
	return slices.Contains(protocols, any("http")) || slices.Contains(protocols, any("https"))
}

// checkProtocols refuses a plugin that no route of its service could run.
func (k *Kong) checkProtocols(table string, e entity) *refusal {
	service := refID(e, "service")
	protocols, ok := e["protocols"].([]any)
	if table != "plugins" || service == "" || !ok || e["route"] != nil {
		return nil
	}
	routes := k.db.list("routes", func(r entity) bool { return refID(r, "service") == service })
	for _, r := range routes {
		own, _ := r["protocols"].([]any)
		if slices.ContainsFunc(own, func(p any) bool { return slices.Contains(protocols, p) }) {
			return nil
		}
	}
	if len(routes) == 0 {
		return nil
	}
	return schemaViolation(violations{"protocols": "must match the protocols of at least one route pointing to this Plugin's service"})
}

// resolve turns foreign keys given by name into ids.
func (k *Kong) resolve(table string, e entity) *refusal {
	for _, f := range schemas()[table].fields {
		ref, ok := e[f.name].(entity)
		if f.Type != "foreign" || !ok {
			continue
		}
		key := keyOf[f.Reference]
		name, named := ref[key].(string)
		if ref["id"] != nil || !named {
			continue
		}
		target := k.db.find(f.Reference, name)
		if target == nil {
			what := fmt.Sprintf("the foreign key cannot be resolved with '%s' for an existing '%s' entity", luaKey(entity{key: name}), f.Reference)
			return badRequest(13, "foreign keys unresolved", fmt.Sprintf("foreign key unresolved (%s.%s: %s)", f.name, key, what), entity{"fields": entity{f.name: entity{key: what}}})
		}
		e[f.name] = entity{"id": target["id"]}
	}
	return nil
}

func (k *Kong) checkReferences(table string, e entity) *refusal {
	for _, f := range schemas()[table].fields {
		id := refID(e, f.name)
		if f.Type != "foreign" || id == "" || k.db.tables[f.Reference][id] != nil {
			continue
		}
		return badRequest(4, "foreign key violation", fmt.Sprintf("the foreign key '%s' does not reference an existing '%s' entity.", luaKey(entity{"id": id}), f.Reference), entity{"fields": entity{f.name: entity{"id": id}}})
	}
	return nil
}

func (k *Kong) checkUnique(table string, e entity) *refusal {
	var keys []entity
	switch table {
	case "plugins":
		keys = append(keys, pick(e, "name", "service", "route", "consumer"))
	case "targets":
		keys = append(keys, pick(e, "target", "upstream"))
	}
	for _, f := range schemas()[table].fields {
		if f.Unique && e[f.name] != nil {
			keys = append(keys, pick(e, f.name))
		}
	}
	for _, key := range keys {
		for id, other := range k.db.tables[table] {
			if id != e["id"] && matches(other, key) {
				return uniqueViolation(key)
			}
		}
	}
	return nil
}

func pick(e entity, names ...string) entity {
	out := entity{}
	for _, name := range names {
		out[name] = e[name]
	}
	return out
}

func matches(e, key entity) bool {
	for name, want := range key {
		if _, isRef := want.(entity); isRef {
			if refID(e, name) != refID(key, name) {
				return false
			}
		} else if e[name] != want {
			return false
		}
	}
	return true
}

// remove deletes an entity and what hangs on it. A service with routes stays.
func (k *Kong) remove(table string, e entity) *refusal {
	id := e["id"].(string)
	hanging := map[string][]string{"services": {"plugins"}, "routes": {"plugins"}, "consumers": {"plugins", "keyauth_credentials"}, "upstreams": {"targets"}}
	singular := strings.TrimSuffix(table, "s")
	if table == "services" {
		for _, r := range k.db.tables["routes"] {
			if refID(r, "service") == id {
				return badRequest(4, "foreign key violation", "an existing 'routes' entity references this 'services' entity", entity{"fields": entity{"@referenced_by": "routes"}})
			}
		}
	}
	delete(k.db.tables[table], id)
	for _, child := range hanging[table] {
		maps.DeleteFunc(k.db.tables[child], func(_ string, c entity) bool { return refID(c, singular) == id })
	}
	k.changed(table)
	return nil
}

// shown returns a stored entity as the Admin API shows it.
func shown(table string, e entity) entity {
	if table != "plugins" {
		return e
	}
	name, _ := e["name"].(string)
	shorthands := shorthandsOf(name)
	config, ok := e["config"].(entity)
	if len(shorthands) == 0 || !ok {
		return e
	}
	e, config = maps.Clone(e), maps.Clone(config)
	writeShorthands(shorthands, config)
	e["config"] = config
	return e
}

// clone copies v with everything in it.
func clone[T any](v T) T {
	switch in := any(v).(type) {
	case entity:
		out := make(entity, len(in))
		for key, item := range in {
			out[key] = clone(item)
		}
		return any(out).(T)
	case []any:
		out := make([]any, len(in))
		for i, item := range in {
			out[i] = clone(item)
		}
		return any(out).(T)
	default:
		return v
	}
}

// merge returns old with patch in it: records merge, everything else is replaced.
func merge(fields []*field, old, patch entity) entity {
	out := clone(old)
	for key, v := range patch {
		i := slices.IndexFunc(fields, func(f *field) bool { return f.name == key })
		inner, isObject := v.(entity)
		was, wasObject := out[key].(entity)
		if isObject && wasObject && (i >= 0 && fields[i].Type == "record" || i < 0 && fields == nil) {
			out[key] = merge(fields[i].fields, was, inner)
			continue
		}
		out[key] = clone(v)
	}
	return out
}
