package rules

// Source is one entry of the list of sources: a kind, and settings that only the
// collector of that kind understands.
type Source struct {
	Kind string
	File string
	Line int
}

// Decode reads the settings into a struct (by its yaml tags), strictly and over
// what is already in it: an absent key keeps its default. The error lists every
// problem with its place (*LoadError).
func (s Source) Decode(into any) error { return nil }
