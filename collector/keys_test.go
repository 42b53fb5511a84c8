package collector

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestKeysAreFoundInWhateverOrder(t *testing.T) {
	members := []string{
		`"latencies":{"request":7,"kong":1,"proxy":6}`, `"started_at":1795293551908`, `"response":{"status":200,"headers":{"a":"b","c":"d"}}`,
		`"request":{"id":"x","uri":"/a?b","method":"GET","headers":{"host":"h"}}`, `"tries":[{"ip":"10.0.0.1","port":80},{"port":81,"ip":"10.0.0.2"}]`,
		`"unknown":{"request":{"id":"y"}}`, `"client_ip":"192.0.2.1"`,
	}
	d := NewDecoder(Limits{})
	for turn := range 3 * len(members) {
		var line []string
		for i := range members {
			line = append(line, members[(i*(1+turn%3)+turn)%len(members)])
		}
		sameAsOracle(t, d, []byte("{"+strings.Join(line, ",")+"}"))
		sameAsOracle(t, d, []byte("{ "+strings.Join(line, " ,\n ")+"\t}"))
		sameAsOracle(t, d, []byte("{"+strings.ReplaceAll(strings.Join(line, ","), ":", ": ")+"}"))
	}
}

// A sender that makes up keys must not make a decoder grow, nor forget how to read.
func TestKeysAreBounded(t *testing.T) {
	d := NewDecoder(Limits{})
	for n := range 5_000 {
		body := fmt.Appendf(nil, `{"k%d":1,"latencies":{"l%d":0,"request":5},"started_at":1795293551908,"response":{"status":200,"headers":{"h%d":"","%s":""}}}`,
			n, n, n, strings.Repeat("x", n%100))
		batch, err := d.Decode(body)
		if err != nil || len(batch.Records) != 1 || batch.Records[0].Status != 200 {
			t.Fatalf("%+v, %v, of %s", batch, err, body)
		}
		for object := range d.keys {
			if ring := &d.keys[object]; len(ring.known) > maxKnown || len(ring.index) != len(ring.known)-1 {
				t.Fatalf("%d keys are known of object %d, and %d indexed", len(ring.known), object, len(ring.index))
			}
		}
	}
}

// What a decoder remembers of one entity must not keep alive what was forgotten.
func TestForgottenEntitiesAreNotHeld(t *testing.T) {
	d := NewDecoder(Limits{})
	long := bytes.Repeat([]byte("x"), 900)
	for n := range 4_000 {
		body := fmt.Appendf(nil, `{"service":{"name":"s%d","a":"%s"},"route":{"name":"r%d","a":"%s"},"service":{"name":"s%d"},"latencies":{},"started_at":1,"response":{"status":1}}`,
			n, long, n, long, n+1)
		if _, err := d.Decode(body); err != nil {
			t.Fatal(err)
		}
		for kind := range d.memo.entities {
			if n%397 > 0 { // of all, it would take long
				break
			}
			for _, e := range d.memo.entities[kind].known {
				if e.then != nil && d.memo.entities[e.thenKind].known[e.then.raw] != e.then {
					t.Fatalf("after %d lines %q holds on to %q, which is forgotten", n, e.name, e.then.name)
				}
			}
		}
	}
}
