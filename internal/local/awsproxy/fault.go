package awsproxy

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/metaflow-deployer/metaflow-deployer/internal/local/awsmodel"
)

// faultOf finds the error code of an answer as an SDK would; empty where the answer is good.
func faultOf(a *answer) string {
	if a.status < http.StatusBadRequest {
		return ""
	}

	if code := a.header.Get("X-Amzn-Errortype"); code != "" {
		return bareCode(code)
	}

	var fault struct {
		Type string `json:"__type"`
		Code string `json:"code"`
	}

	if json.Unmarshal(a.body, &fault) == nil {
		if fault.Type != "" {
			return bareCode(fault.Type)
		}

		if fault.Code != "" {
			return bareCode(fault.Code)
		}
	}

	if root, err := awsmodel.ParseXML(a.body); err == nil {
		for _, path := range [][]string{{"Code"}, {"Error", "Code"}, {"Errors", "Error", "Code"}} {
			if code := root.ChildText(path...); code != "" {
				return code
			}
		}
	}

	// An answer to HEAD has no body; SDKs take the status line.
	return strings.ReplaceAll(http.StatusText(a.status), " ", "")
}

// bareCode strips what surrounds the code: "com.amazonaws.dynamodb#ResourceNotFoundException:http://...".
func bareCode(s string) string {
	s, _, _ = strings.Cut(s, ":")
	if i := strings.LastIndex(s, "#"); i >= 0 {
		s = s[i+1:]
	}

	return s
}

// mustJSON marshals what was unmarshalled before, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}

	return b
}
