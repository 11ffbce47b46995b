package awsfake

// IAM is the fake of the service.
type IAM struct{ w *World }

func newIAM(w *World) *IAM { return &IAM{w: w} }
