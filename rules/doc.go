// Package rules reads what operators write: gatewarden.yaml, which says how to run
// (LoadConfig), and the rules files, which say what to protect and what to do about
// it (LoadRules). It stands beside the data's way through the program: collectors,
// analyzers and actions are configured from what it returns, and none of them ever
// sees YAML.
//
//	file ─parse→ yaml.Node ─decode→ private spec ─defaults, checks→ Config, gatewarden.SLO, Canary, ActionPolicy
//	                           └──────────┴─ every problem, with its place ─▶ Problems
//
// Loading is strict and never stops at the first mistake: an unknown key, a value of
// the wrong type, a name that nothing bears, a policy that could never run are all
// found in one go, each with file, line, column and a way out.
package rules
