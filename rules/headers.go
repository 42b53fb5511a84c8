package rules

import (
	"maps"
	"slices"

	"github.com/gatewarden/gatewarden"
)

// Headers returns the names, in lower case and sorted, of the headers by which canaries
// are selected: what a decoder must keep of each record.
func (r *Rules) Headers() (request, response []string) {
	asked := map[gatewarden.SelectorKind]map[string]bool{gatewarden.ByRequestHeader: {}, gatewarden.ByResponseHeader: {}}
	for _, c := range r.Canaries {
		for _, s := range c.Tracks {
			if names := asked[s.Kind]; names != nil && s.Header != "" {
				names[s.Header] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(asked[gatewarden.ByRequestHeader])), slices.Sorted(maps.Keys(asked[gatewarden.ByResponseHeader]))
}
