package convert

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// slothWindow is what Sloth takes unless its command line says otherwise.
const slothWindow = 30 * 24 * time.Hour

func slothHints() map[string]string {
	alert := "alerts of the guard are events, metrics and actions: on_page and on_ticket name what is started"
	return map[string]string{
		"plugin": "write the queries that the plugin makes", "plugins": "", "slo_plugins": "", "annotations": alert, "labels": alert, "name": alert,
	}
}

// sloth reads the SLOs of a service.
func sloth(v value) []*slo {
	service := v.get("service").text()
	if service == "" {
		v.lost("", "it does not say of which service the slos are")
		return nil
	}
	var list []*slo
	for _, item := range v.get("slos").each() {
		if s := slothSLO(v, item, service); s != nil {
			list = append(list, s)
		}
	}
	return list
}

func slothSLO(v, item value, service string) *slo {
	name := item.get("name").text()
	s := &slo{
		Name: nameOf(service + "-" + name), Description: item.get("description").text(), Service: service,
		Window: gatewarden.Duration(slothWindow).String(),
	}
	for _, labels := range []value{v.get("labels"), item.get("labels")} {
		keys, values := labels.pairs()
		for i, key := range keys {
			s.label(key, values[i].text(), values[i])
		}
	}
	objective, ok := number(item.get("objective").text(), false)
	if !ok {
		item.get("objective").lost("", "the slo %s is left out: its objective is no number between 0 and 100", name)
		return nil
	}
	s.Objective = objective
	sli := item.get("sli")
	switch events := sli.get("events"); {
	case sli.get("raw").there():
		raw := sli.get("raw")
		raw.taken()
		raw.lost("write error_query and total_query", "the slo %s is left out: its query gives a ratio, and a ratio does not say of how many events it is", name)
		return nil
	case sli.get("plugin").there():
		plugin := sli.get("plugin")
		plugin.taken()
		plugin.lost("write the queries that the plugin makes", "the slo %s is left out: its queries are made by a plugin of Sloth's", name)
		return nil
	case !events.there():
		item.lost("", "the slo %s is left out: it has no sli", name)
		return nil
	default:
		s.SLI.Prometheus.Error = query(events.get("error_query", "errorQuery"))
		s.SLI.Prometheus.Total = query(events.get("total_query", "totalQuery"))
	}
	s.Alerting = slothAlerting(item.get("alerting"))
	return s
}

// slothAlerting returns the alerts that are left when one is switched off, nil for all.
func slothAlerting(v value) any {
	page := !v.get("page_alert", "pageAlert").get("disable").is("true")
	ticket := !v.get("ticket_alert", "ticketAlert").get("disable").is("true")
	switch {
	case page && ticket:
		return nil
	case !page && !ticket:
		return "off"
	}
	var left pairs
	for _, p := range gatewarden.WorkbookPairs(slothWindow) {
		if (p.Severity == gatewarden.SeverityPage) == page {
			left.Pairs = append(left.Pairs, pair{p.Severity.String(), p.Factor, gatewarden.Duration(p.Long).String(), gatewarden.Duration(p.Short).String()})
		}
	}
	return left
}
