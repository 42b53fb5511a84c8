package gates

import (
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/gatewarden/gatewarden"
)

// A report says what an Observer saw in one batch, by definition. It is written like a
// message of the log, with a number that no other report has, and with a checksum over all
// before it, as it has come over a network:
//
//	report      = version number at count observed* checksum
//	observed    = canary fingerprint count observation*
//
// The first observation's instant is told as the difference to at, the batch's.
type report struct {
	number reportNumber
	seen   []observed
}

// reportNumber is random: a Book that is told a report again knows it by that.
type reportNumber [8]byte

// observed is what was seen of the requests that one definition picks.
type observed struct {
	canary       string
	print        fingerprint
	observations []gatewarden.Observation
}

const (
	reportVersion = 1
	checksumSize  = 4
	minObserved   = 18 // the least bytes that an observed takes
)

// checksum is CRC-32C.
func checksum(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}

// message returns what was gathered in a batch of the given instant as a report, nil when
// that is nothing.
func (g *gathering) message(at time.Time) []byte {
	if len(g.shown) == 0 {
		return nil
	}
	var number reportNumber
	_, _ = rand.Read(number[:]) // it never fails, says its documentation
	b := append([]byte{reportVersion}, number[:]...)
	base := at.UnixNano()
	b = binary.AppendVarint(b, base)
	b = binary.AppendUvarint(b, uint64(len(g.shown)))
	for _, s := range g.shown {
		b = appendText(b, s.feed.canary.Name)
		b = append(b, s.feed.print[:]...)
		b = appendObservations(b, base, s.observations)
	}
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// parseReport reads a report. The error has code Invalid: it came from elsewhere.
func parseReport(data []byte) (report, error) {
	body := data[:max(len(data)-checksumSize, 0)]
	if len(body) == 0 || checksum(body) != binary.LittleEndian.Uint32(data[len(body):]) {
		return report{}, gatewarden.Errorf(gatewarden.Invalid, "a report about canaries is damaged: %d bytes that do not agree with their checksum", len(data))
	}
	p := &parser{rest: body}
	if version := p.byte(); version != reportVersion {
		return report{}, gatewarden.Errorf(gatewarden.Invalid, "a report about canaries has version %d, not %d", version, reportVersion).
			WithHint("guards side by side should be of the same release")
	}
	r := report{number: reportNumber(p.fixed(len(reportNumber{})))}
	base := p.int()
	for range p.count(minObserved) {
		o := observed{canary: p.text(), print: fingerprint(p.fixed(len(fingerprint{})))}
		o.observations = p.observations(base)
		for i := range o.observations {
			p.bad = p.bad || !datable(o.observations[i].At)
		}
		r.seen = append(r.seen, o)
	}
	if p.bad || len(p.rest) > 0 {
		return report{}, gatewarden.Errorf(gatewarden.Invalid, "a report about canaries of %d bytes is none", len(data))
	}
	return r, nil
}

// fixed reads n bytes; all zero once something is bad.
func (p *parser) fixed(n int) []byte {
	if taken := p.take(uint64(n)); taken != nil {
		return taken
	}
	return make([]byte, n)
}
