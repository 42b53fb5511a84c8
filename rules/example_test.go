package rules_test

import (
	"fmt"
	"os"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

func ExampleLoadRules() {
	loaded, problems := rules.LoadRules([]string{"../examples/shop/rules"})
	if err := problems.Err(); err != nil {
		fmt.Println(err)
		return
	}
	for _, slo := range loaded.SLOs[:3] {
		fmt.Printf("%s: %g of {%s}, outage above %g\n", slo.Name, slo.Objective, slo.Series, slo.Outage.Ratio)
	}
	for _, step := range loaded.Policies[0].Steps {
		fmt.Printf("after %s: %s\n", step.After, step.Kind)
	}
	// Output:
	// orders-availability: 0.999 of {service="orders"}, outage above 0.1
	// orders-latency: 0.99 of {service="orders"}, outage above 0.5
	// orders-writes: 0.995 of {service="orders"}, outage above 0.25
	// after 0s: drain
	// after 30s: plugin
	// after 1m: plugin
	// after 2m: jenkins
}

func ExampleProblems_Write() {
	_, problems := rules.LoadRules([]string{"testdata/example.yaml"})
	_ = problems.Write(os.Stdout)
	// Output:
	// testdata/example.yaml:4:5: error: unknown key "objectiv" in an slo
	//     objectiv: 99.9
	//     ^
	//     hint: did you mean "objective"?
	// testdata/example.yaml:5:18: error: in the expression: unknown name statsu
	//     sli: {good: 'statsu < 500'}
	//                  ^
	//     hint: did you mean "status"?
}

func ExampleRules_Override() {
	loaded, _ := rules.LoadRules([]string{"../examples/shop/rules"})
	if err := loaded.Override("slo.orders-availability.objective", "99.95"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(loaded.SLOs[0].Objective, gatewarden.ErrorCode(loaded.Override("slo.objektive", "99")))
	// Output: 0.9995 invalid
}
