package main

// referenceOptions are the flags of the original program that are no other names of ours.
type referenceOptions struct {
	LowerCase bool   `long:"do-lower-case" hidden:"true" description:"as the vocabulary says without it"`
	FP16      bool   `long:"fp16" also:"amp" hidden:"true" description:"--precision fp16"`
	Detail    bool   `long:"verbose-logging" hidden:"true" description:"-v"`
	BERTModel string `long:"bert-model" value-name:"NAME" hidden:"true" description:"never read"`
	NoCUDA    bool   `long:"no-cuda" hidden:"true" description:"--device cpu"`
	Seed      uint64 `long:"seed" value-name:"N" hidden:"true" description:"never read: nothing here is random"`
	LocalRank int    `long:"local-rank" value-name:"N" hidden:"true" description:"never read"`
}

// translate sets the options that flags of the original stand for.
func (o *options) translate() {
	if o.FP16 {
		o.Precision = "fp16"
	}
	if o.NoCUDA {
		o.Device = "cpu"
	}
}
