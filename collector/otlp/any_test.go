package otlp

import (
	"strconv"

	common "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/gatewarden/gatewarden/collector"
)

// textOfAny is anyValue on the generated type.
func textOfAny(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return collector.Name(v.StringValue)
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'f', -1, 64)
	}
	return ""
}
