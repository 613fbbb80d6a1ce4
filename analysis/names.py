"""How a reader writes the names of methods, chains, tasks and metrics."""

NAMES = {"dapt": "DAPT", "tapt": "TAPT", "tfidf": "TF-IDF", "macro_f1": "macro-F1", "micro_f1": "micro-F1"}
NAMES |= {"span_f1": "span-F1"}
NAMES |= {"lora": "LoRA", "dora": "DoRA", "adalora": "AdaLoRA", "qlora": "QLoRA", "int8_lora": "LoRA, int8 base"}
NAMES |= {"vera": "VeRA", "ia3": "(IA)\N{SUPERSCRIPT THREE}", "bitfit": "BitFit", "llama_adapter": "LLaMA-Adapter"}
NAMES |= {"p_tuning_lstm": "P-tuning (LSTM)", "p_tuning_mlp": "P-tuning (MLP)"}
NAMES |= {"prefix_projection": "prefix (projected)", "bottleneck_houlsby": "bottleneck (Houlsby)"}
NAMES |= {"bottleneck_pfeiffer": "bottleneck (Pfeiffer)"}
NAMES |= {"fgm": "FGM", "fgsm": "FGSM", "pgd": "PGD", "vat": "VAT", "free_at": "FreeAT", "r3f": "R3F"}
NAMES |= {"freelb": "FreeLB", "freelb_plus_plus": "FreeLB++", "smart": "SMART", "alum": "ALUM", "sift": "SiFT"}
NAMES |= {"tavat": "TAVAT", "creat": "CreAT", "neftune": "NEFTune", "rdrop": "R-Drop", "awp": "AWP"}
NAMES |= {"pseudo_labelled": "pseudo-labelled", "random": "random direction"}
NAMES |= {"irrelevant_dapt": "irrelevant DAPT", "transfer_tapt": "transfer-TAPT", "curated_tapt": "curated-TAPT"}
NAMES |= {f"knn_tapt_{k}": f"{k}NN-TAPT" for k in (50, 150, 500)} | {"knn_tapt_states": "kNN-TAPT (states)"}
NAMES |= {"rand_tapt": "RAND-TAPT", "dsir": "DSIR", "rand_dsir": "RAND-DSIR"}
NAMES |= {f"rand_tapt_{k}": f"RAND-TAPT ({k})" for k in (150, 500)} | {"knn_tapt_sentences": "kNN-TAPT (sentences)"}
NAMES |= {"acl_arc": "ACL-ARC", "chemprot": "ChemProt", "sciie": "SciERC"}  # by the names of their files
