package awsfake

// Batch is the fake of the service.
type Batch struct{ w *World }

func newBatch(w *World) *Batch { return &Batch{w: w} }
