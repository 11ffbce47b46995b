// Package needs tells `go test` what a test hands to other programs. Go answers from its cache while no file that the test itself has looked at is
// different, and of what an interpreter or a browser reads it knows nothing.
//
// It must not know who needs what.
package needs

import (
	"os"
	"testing"
)

// Files fails the test if one of them is not there, and makes the test run anew when one is changed. The path is relative to the test's folder.
func Files(tb testing.TB, paths ...string) {
	tb.Helper()

	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			tb.Fatal(err)
		}
	}
}
