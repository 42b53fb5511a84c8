package app

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector/elasticsearch"
	"github.com/gatewarden/gatewarden/rules"
)

// lagOfLog returns how far behind the present Kong's requests are judged: as of when the
// quickest of the sources that bring the log has them. It is 0 with one that brings them at
// once, which is any but Elasticsearch, and without a log.
func (in *intake) lagOfLog() (lag time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	late := false
	for _, h := range in.sources {
		if brings := isLog(h.kind) && h.signal != signalPast; brings && (!late || h.lags < lag) {
			lag, late = h.lags, true
		}
	}
	return lag
}

// promptly is how late Kong's log may come without a warning.
const promptly = 15 * time.Second

// checkLate warns of what outages are to start when Kong's log comes by Elasticsearch only,
// and late: it starts that much later.
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
		case !settings.Follows(): // it only fills in the past
		case of < promptly:
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
		Message: fmt.Sprintf("elasticsearch brings Kong's log %s late: on_outage of %s starts that much later",
			gatewarden.Duration(lag), strings.Join(names, ", ")),
		Hint: "let Kong's log come directly, such as by - httplog: {}, with read: nothing here; or set lag: 5s where the shipper and refresh_interval allow it",
	}}
}
