package simulation

import (
	"errors"

	"github.com/aws/smithy-go"

	"github.com/metaflow-deployer/metaflow-deployer/internal/awsfake"
	"github.com/metaflow-deployer/metaflow-deployer/internal/store/memory"
)

// broken is the error of an action as the caller sees it.
func broken(a Action) error {
	switch a {
	case LoseAnswer:
		return errors.New("connection reset by peer")
	case Refuse:
		return &smithy.GenericAPIError{Code: "AccessDenied", Message: "a service control policy forbids it", Fault: smithy.FaultClient}
	case Throttle:
		return &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded", Fault: smithy.FaultClient}
	case ServerError:
		return &smithy.GenericAPIError{Code: "InternalError", Message: "we are sorry", Fault: smithy.FaultServer}
	case None, CrashBefore, CrashAfter:
	}

	return nil
}

func (w *World) breakAWS(a Action) awsfake.Fault {
	switch a {
	case CrashBefore:
		panic(crash{})
	case CrashAfter:
		return awsfake.Fault{After: func() { panic(crash{}) }}
	case LoseAnswer:
		return awsfake.Fault{Lost: broken(a)}
	case Refuse, Throttle, ServerError:
		return awsfake.Fault{Before: broken(a)}
	case None:
	}

	return awsfake.Fault{}
}

func (w *World) breakStore(a Action) memory.Fault {
	switch a {
	case CrashBefore:
		panic(crash{})
	case CrashAfter:
		return memory.Fault{After: func() { panic(crash{}) }}
	case LoseAnswer:
		return memory.Fault{Lost: broken(a)}
	case Refuse, Throttle, ServerError:
		return memory.Fault{Before: broken(a)}
	case None:
	}

	return memory.Fault{}
}
