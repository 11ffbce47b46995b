package policydoc

import (
	"encoding/json"
	"fmt"
)

// Object is a document of ours as an object instead of a text, which is how CloudFormation takes it.
func Object(document string) map[string]any {
	var m map[string]any
	if err := json.Unmarshal([]byte(document), &m); err != nil {
		panic(fmt.Sprintf("read a policy of our own: %v", err)) // a wiring mistake: New wrote it
	}

	return m
}
