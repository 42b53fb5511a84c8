package fakekong

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// page answers a list, one page of it, filtered by tags.
func (k *Kong) page(table string, a ask, keep func(entity) bool) reply {
	size, refused := pageSize(a.query)
	if refused != nil {
		return refuse(refused)
	}
	wanted, refused := tagFilter(a.query)
	if refused != nil {
		return refuse(refused)
	}
	if wanted != nil && k.cfg.DBLess && slices.ContainsFunc(k.db.list(table, nil), func(e entity) bool { return e["tags"] == nil }) {
		return refuse(databaseDown()) // a defect of the real one
	}
	list := k.db.list(table, func(e entity) bool { return keep(e) && (wanted == nil || wanted(tagsOf(e))) })
	start, refused := after(list, a.query.Get("offset"))
	if refused != nil {
		return refuse(refused)
	}
	list = list[start:]
	body := entity{"next": nil}
	if len(list) > size {
		list = list[:size]
		offset := offsetOf(list[size-1]["id"].(string))
		q := url.Values{"offset": {offset}}
		for _, name := range []string{"size", "tags"} {
			if v := a.query.Get(name); v != "" {
				q.Set(name, v)
			}
		}
		body["offset"], body["next"] = offset, "/"+strings.Join(a.path, "/")+"?"+q.Encode()
	}
	body["data"] = showAll(table, list)
	return ok(body)
}

func showAll(table string, list []entity) []entity {
	out := make([]entity, len(list))
	for i, e := range list {
		out[i] = shown(table, e)
	}
	return out
}

func pageSize(q url.Values) (int, *refusal) {
	s := q.Get("size")
	if s == "" {
		return 100, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, badRequest(9, "invalid size", "size must be a number", nil)
	}
	if f != float64(int(f)) || f < 1 || f > 1000 {
		return 0, badRequest(9, "invalid size", "size must be an integer between 1 and 1000", nil)
	}
	return int(f), nil
}

func offsetOf(id string) string {
	b, _ := json.Marshal([]string{id})
	return base64.RawURLEncoding.EncodeToString(b)
}

// after returns the index behind the entity that the offset names.
func after(list []entity, offset string) (int, *refusal) {
	if offset == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(offset, "="))
	var ids []string
	if err != nil || json.Unmarshal(b, &ids) != nil || len(ids) != 1 {
		return 0, badRequest(7, "invalid offset", "'"+offset+"' is not a valid offset: bad base64 encoding", nil)
	}
	i, found := slices.BinarySearchFunc(list, ids[0], func(e entity, id string) int { return strings.Compare(e["id"].(string), id) })
	if found {
		i++
	}
	return i, nil
}

func tagsOf(e entity) []string {
	var tags []string
	list, _ := e["tags"].([]any)
	for _, t := range list {
		tags = append(tags, t.(string))
	}
	return tags
}

// tagFilter reads ?tags=: a,b wants both, a/b one of them, a mixture is refused.
func tagFilter(q url.Values) (func([]string) bool, *refusal) {
	if !q.Has("tags") {
		return nil, nil
	}
	s := q.Get("tags")
	or, and := strings.Contains(s, "/"), strings.Contains(s, ",")
	switch {
	case s == "":
		return nil, invalidOption("tags", "cannot be null")
	case or && and:
		return nil, invalidOption("tags", "invalid filter syntax")
	case or:
		words := strings.Split(s, "/")
		return func(tags []string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(tags, w) })
		}, nil
	default:
		words := strings.Split(s, ",")
		return func(tags []string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(tags, w) })
		}, nil
	}
}

// tagsEndpoint answers /tags and /tags/{tag}: who carries which tag, by id.
func (k *Kong) tagsEndpoint(a ask) reply {
	if len(a.path) > 2 {
		return refuse(notFound())
	}
	if k.cfg.DBLess {
		at := "/" + strings.Join(a.path, "/")
		return ok(entity{"data": []any{}, "offset": "workspaces|nil", "next": at + "?offset=workspaces%7Cnil"})
	}
	rows := []entity{}
	for _, table := range tableNames {
		for _, e := range k.db.list(table, nil) {
			for _, tag := range tagsOf(e) {
				if len(a.path) == 1 || a.path[1] == tag {
					rows = append(rows, entity{"entity_name": table, "entity_id": e["id"], "tag": tag})
				}
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b entity) int { return strings.Compare(a["entity_id"].(string), b["entity_id"].(string)) })
	return ok(entity{"data": rows, "next": nil})
}
