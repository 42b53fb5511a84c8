// Command shop is the example that a guard is tried on: a small shop behind Kong. It
// is everything around the guard that is not Kong, Jenkins or a database:
//
//	shop serve orders       one service of the shop, with faults on demand
//	shop load               its customers, flash sales included
//	shop gateway            declares the shop at Kong, once or again
//	shop deploy             what the pipelines do: a canary, everywhere, back
//	shop faults             makes an instance fail or slow, and mends it
//	shop healthcheck        asks an instance whether it serves: for containers
//	shop chat               the team's chat: it prints what is posted to it
//	shop story              breaks v2 and follows what the guard does about it
//	shop local              all of this on one machine, with stand-ins for Kong and Jenkins
//
//	customers (load) ──▶ Kong ──▶ orders ──▶ inventory, payments      traces ──▶ Jaeger
//	                      │       recommendations
//	                      └─ log ──▶ gatewarden ──▶ Kong, Jenkins (deploy back), chat
//
// docker-compose.yml runs these as containers; `make shop` runs them without Docker.
package main
