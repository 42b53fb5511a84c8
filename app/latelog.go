package app

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector/elasticsearch"
	"github.com/gatewarden/gatewarden/rules"
)

// outageWithin is how late a record may come for the outage line to be judged by it.
const outageWithin = 15 * time.Second

// checkLate warns of what outages are to start when Kong's log comes by Elasticsearch only,
// and too late for the outage line: it would never start.
func checkLate(config *rules.Config, set *rules.Rules) rules.Problems {
	var late *rules.Source
	lag := time.Duration(0)
	for i := range config.Sources {
		s := &config.Sources[i]
		if !logged(config.Sources[i : i+1]) {
			continue
		}
		settings := elasticsearch.DefaultSettings()
		if s.Kind != "elasticsearch" || s.Decode(&settings) != nil {
			return nil
		}
		switch of := settings.Late(); {
		case of == 0: // it only fills in the past
		case of < outageWithin:
			return nil
		case late == nil || of < lag:
			late, lag = s, of
		}
	}
	var names []string
	for i := range set.SLOs {
		if slo := &set.SLOs[i]; len(slo.OnOutage) > 0 && slo.Outage != nil && slo.SLI.Query == nil && slo.Series.Signal == "" {
			names = append(names, slo.Name)
		}
	}
	if late == nil || len(names) == 0 {
		return nil
	}
	return rules.Problems{{
		File: late.File, Line: late.Line, Severity: rules.SeverityWarning,
		Message: fmt.Sprintf("elasticsearch brings Kong's log %s late, and the outage line judges what comes within %s: on_outage of %s never starts",
			gatewarden.Duration(lag), gatewarden.Duration(outageWithin), strings.Join(names, ", ")),
		Hint: "let Kong's log come directly, such as by - httplog: {}, with read: nothing here; or set lag: 5s where the shipper and refresh_interval allow it",
	}}
}
