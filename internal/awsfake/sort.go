package awsfake

import (
	"maps"
	"slices"
	"strings"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sorted lists the values in the order of their keys, so that a world answers the same on every run.
func sorted[V any](m map[string]V) []V {
	return picked(m, func(V) bool { return true })
}

// picked is sorted without those that are not wanted. In an account full of things, sorting all of them for each call would take most of a simulation's time.
func picked[V any](m map[string]V, wanted func(V) bool) []V {
	var keys []string

	for k, v := range m {
		if wanted(v) {
			keys = append(keys, k)
		}
	}

	slices.Sort(keys)

	list := make([]V, len(keys))
	for i, k := range keys {
		list[i] = m[k]
	}

	return list
}

// spelled tells whether a name consists of letters, digits and more.
func spelled(name, more string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(more, r)
	})
}
