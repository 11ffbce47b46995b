package awsfake

// S3 is the fake of the service.
type S3 struct{ w *World }

func newS3(w *World) *S3 { return &S3{w: w} }
