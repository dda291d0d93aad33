from pathlib import Path
def sub(f,a,b):
    p=Path("configs")/f; s=p.read_text(); assert a in s,(f,a); p.write_text(s.replace(a,b,1))
sub("student_small_finetune.yaml","# The shipped small student: on from","# The small student as it shipped before configs/recipe_small.yaml made another: on from")
sub("taught.yaml","# small and base, narrowed, so that their files keep to their limits: by the\n","# base, and small before configs/recipe_small.yaml, narrowed, so that their files keep to their limits: by the\n")
sub("taught_finetune.yaml","# The last step of small and base: after configs/taught.yaml,","# On with small, as it was then, and base: after configs/taught.yaml,")
sub("student_small_psnr.yaml","# The last training of small and base: on from what configs/taught.yaml","# On with base, and small before configs/recipe_small.yaml, from what configs/taught.yaml")
sub("taught_large.yaml","# The last training of small and base, under","# The last training of base, and of small before configs/recipe_small.yaml, under")
sub("quantize.yaml",'''# Calibration and fine-tuning for int8, for any student. What ships was made by
#   compress quantize --checkpoint small --scheme int8 --config configs/quantize.yaml --data-root DATA \\
#     --method percentile --keep-float exit up.0
# and likewise base with --keep-float exit up.0 decoder.0.1.second; nano by the last step of configs/recipe_nano.yaml.
''','''# Calibration and fine-tuning for int8, for any student. base_int8 was made by
#   compress quantize --checkpoint base --scheme int8 --config configs/quantize.yaml --data-root DATA \\
#     --method percentile --keep-float exit up.0 decoder.0.1.second
# nano_int8 and small_int8 by the last steps of configs/recipe_nano.yaml and configs/recipe_small.yaml.
''')
