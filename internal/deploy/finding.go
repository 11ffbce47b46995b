package deploy

// Finding is one thing that is wrong with a request, or that the caller should know before going on.
type Finding struct {
	// Level is error (the request is refused) or warning.
	Level   Level  `json:"level"`
	Class   Class  `json:"class"`
	Code    string `json:"code"`
	Pointer string `json:"pointer,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
	// Operation is the one that is in the way, if one is.
	Operation string `json:"operation,omitempty"`
}

// Level is how serious a finding is.
type Level string

// The two levels.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
)

// Finding turns a classified error into a finding of level error.
func (e *Error) Finding() Finding {
	return Finding{Level: LevelError, Class: e.Class, Code: e.Code, Pointer: e.Pointer, Message: e.Message, Remedy: e.Remedy}
}
