"""What a line of the package computes, in a sentence: from the line itself, and from what its names mean."""
import ast
import functools

from lib.walk import source, statement

# What a name stands for; (file, name) where it differs from file to file. "dx" of a name x that is here
# needs no entry.
MEANS = {
    "x": "the residual stream, one vector for each position",
    "h": "the residual stream after the last LayerNorm, one vector for each position",
    "logits": "a score for every token at every position",
    "loss": "the mean of -log p[target], how surprised the model is",
    "probs": "the probability of every token at every position",
    "E": "one vector for each token", "P": "one vector for each position", "head": "E again, used as the head",
    "centred": "the rows, each with its mean taken away",
    "variance": "of each row, the mean of its squares",
    "inv_std": "of each row, 1 / its standard deviation",
    "xhat": "the rows with mean 0 and variance 1",
    "gain": "a factor for each column",
    "normed1": "the stream, normalised, as attention takes it",
    "normed2": "the stream, normalised, as the MLP takes it",
    "branch1": "what attention adds to the stream", "branch2": "what the MLP adds to the stream",
    "x1": "the stream after attention", "x2": "the stream after the MLP, the end of this block",
    "qkv": "queries, keys and values, side by side",
    "q": "what each position looks for", "k": "what each position offers", "v": "what each position hands over",
    "scaled_q": "the queries / sqrt(K)",
    "scores": "how well the query of position t fits the key of position s",
    "weights": "how much position t takes from position s; each row sums to 1",
    "kept_weights": "the weights that dropout leaves",
    "mixed": "for each position, the values it attended to, the heads side by side",
    "projected": "the same in the directions of the stream",
    "hidden": "four times as many numbers for each position", "active": "the hidden numbers after GELU",
    "gate": "how much of x passes GELU, from 0 to 1",
    "exp_z": "the exponentials, all positive", "exp_logits": "the exponentials of the logits, all positive",
    "total": "the sum of each row",
    "log_sum": "of each position, log(sum(exp(logits)))",
    "scored": "the positions that have a target",
    "to_mean": "a column of 1/D each; a matrix product with it is the mean of every row",
    "gain_over_D": "the gain as a column, / D; a matrix product with it is the mean of every row times the gain",
    "ones_N": "a row of ones; a matrix product with it is the sum over the positions",
    "mean_dxhat": "of each row, the mean of the gradient with respect to xhat",
    "mean_dxhat_xhat": "of each row, the mean of that gradient times xhat",
    "ids": "the token at each position", "targets": "the token to predict at each position",
    "y_rows": "what attention gives each position, the heads side by side",
    "row_dot": "of each row, the dot product of probs and its gradient",
    ("layers/attention.py", "y"): "what attention adds to the stream",
    ("layers/mlp.py", "y"): "what the MLP adds to it",
    "row_scale": "one factor for each row", "y_dy": "of each head and position, the dot product of y and its gradient",
    "dloss_each": "1 / T, each position's share in the mean",
    "dy_xhat": "the terms that the gain's gradient is the sum of",
    "dx_n": "one position's row of dx", "dx_b": "one sequence's rows of dx",
    "dP": "the gradient of the loss with respect to P",
    ("layers/linear.py", "y"): "x W + b", ("layers/gelu.py", "y"): "x, as far as the gate lets it pass",
    ("layers/layernorm.py", "y"): "the normalised rows, scaled and shifted",
    ("layers/causal.py", "y"): "of each head, the values that each position attended to",
    ("layers/linear.py", "x"): "what goes into the layer", ("layers/linear.py", "W"): "the layer's weights",
    ("layers/gelu.py", "x"): "what goes into GELU",
    ("layers/lookup.py", "x"): "for each position, the row of E at its id",
}
OPERATIONS = {ast.Add: "plus", ast.Sub: "minus", ast.Mult: "times", ast.Div: "divided by",
              ast.Pow: "to the power", ast.FloorDiv: "divided by", ast.Mod: "modulo"}
FUNCTIONS = {"exp": "exp of {}", "log": "the logarithm of {}", "sqrt": "the square root of {}",
             "len": "the length of {}", "sum": "the sum of {}", "mean": "the mean of {}", "ravel": "{} in one row",
             "reshape": "{} in another shape", "swapaxes": "{} transposed", "transposed": "{} transposed",
             "transpose": "{} with its axes in another order", "reversed": "{}, backwards",
             "argsort": "the order that sorts {}", "flatnonzero": "where {}", "reduceat": "the sums of runs of {}",
             "append": "{} is kept in a list", "ones": "ones", "causal_mask": "-inf for every key after its query"}


def headline(step):
    """A sentence about a step of a walk."""
    name = f"{step.file.removeprefix('layers/').removesuffix('.py')}.{step.function}"
    node = syntax(step.file).get(step.line)
    if step.kind == "call":
        return f"{name} is called. {purpose(step.file)}" if step.enters else f"{name} is called."
    if step.accumulation:
        use = {"logits": "head", "lookup": "lookup"}[step.accumulation.use]
        return f"The gradient of E, from its use as the {use}, is accumulated."
    if isinstance(node, ast.Return):
        return f"{name} returns {phrase(node.value)}."
    if isinstance(node, ast.Assign):
        return capital(assignment(node, step)) + "."
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        target = phrase(node.target)
        is_gradient = target.removeprefix("grads.") != target or target.startswith("d")
        return f"{capital(phrase(node.value))} is {'accumulated into' if is_gradient else 'added to'} {target}."
    if isinstance(node, ast.AugAssign):
        return f"{phrase(node.target)} becomes itself {OPERATIONS[type(node.op)]} {phrase(node.value)}."
    if isinstance(node, (ast.If, ast.While)):
        return f"Is this so: {ast.unparse(node.test)}?"
    if isinstance(node, ast.For):
        return f"For each {ast.unparse(node.target)} of {ast.unparse(node.iter)}."
    if isinstance(node, ast.With):
        return f"While the lines below run: {', '.join(map(ast.unparse, node.items))}."
    if not isinstance(node, ast.Expr):
        return "On to the lines below."
    said = phrase(node.value)
    return f"{ast.unparse(node.value.func)} has returned." if said.endswith(" returns") else capital(said) + "."


def capital(text):
    """A sentence begins with a capital, a name as it is written."""
    return text[:1].upper() + text[1:] if text.startswith(("the ", "what ", "where ")) else text


def purpose(file):
    """The first sentence of a file."""
    return ast.get_docstring(ast.parse("\n".join(source(file)))).split("\n")[0]


def assignment(node, step):
    names = [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)
             and isinstance(n.ctx, ast.Store) and n.id != "_"]
    known = [(name, meaning(step.file, name)) for name in names]
    value = node.value
    if not names:
        return f"{phrase(node.targets[0])} becomes {phrase(value)}"
    if isinstance(value, ast.Constant):
        return f"{' and '.join(names)} begin as {value.value}"
    if isinstance(value, ast.List) and not value.elts:
        return f"{names[0]}: an empty list"
    if isinstance(value, ast.Tuple) and all(isinstance(part, ast.Attribute) for part in value.elts):
        return f"{', '.join(map(ast.unparse, value.elts))} get shorter names"
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("np.zeros", "np.zeros_like", "np.empty"):
        return f"Room for {known[0][0]}" + f", {known[0][1]}" * bool(known[0][1])
    said = [f"{name}: {text}" for name, text in known if text]
    return "; ".join(said) or f"{', '.join(names)}: {phrase(value)}"


def meaning(file, name):
    """What a name stands for in a file of the package, or ""."""
    found = MEANS.get((file, name)) or MEANS.get(name)
    if not found and name.startswith("d") and (MEANS.get((file, name[1:])) or name[1:] in MEANS or name == "dlogits"):
        found = f"the gradient of the loss with respect to {name[1:]}"
    return found or ""


def phrase(node):
    """An expression in words; what has none stands as it is written."""
    if isinstance(node, ast.Attribute):
        return f"{phrase(node.value)} transposed" if node.attr == "T" else ast.unparse(node)
    if isinstance(node, ast.BinOp):
        left, right = (f"({phrase(side)})" if isinstance(side, ast.BinOp) else phrase(side)
                       for side in (node.left, node.right))
        if isinstance(node.op, ast.MatMult):
            return f"the matrix product of {left} and {right}"
        return f"{left} {OPERATIONS[type(node.op)]} {right}"
    if isinstance(node, ast.Call):
        return call(node)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name):
        return f"the rows {node.slice.id} of {phrase(node.value)}"
    if isinstance(node, ast.Tuple):
        return ", ".join(map(phrase, node.elts))
    return ast.unparse(node)


def call(node):
    function = ast.unparse(node.func)
    last = function.split(".")[-1]
    if last in ("forward", "backward") or last.startswith(("forward_", "backward_")):
        return f"what {function.removeprefix('layers.')} returns"
    of_array = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) != "np"
    if last == "Cache":
        return "a cache of what backward will need"
    if last == "matmul":
        out = {keyword.arg: keyword.value for keyword in node.keywords}["out"]
        return f"the matrix product of {phrase(node.args[0])} and {phrase(node.args[1])} is put into {phrase(out)}"
    if last in FUNCTIONS:
        argument = node.func.value if of_array and last not in ("append", "reduceat") else node.args[0]
        return FUNCTIONS[last].format(phrase(argument))
    return ast.unparse(node) if function in ("min", "max", "range") else f"what {function} returns"


@functools.cache
def syntax(file):
    """Line number -> the statement that begins there."""
    tree = ast.parse("\n".join(source(file)))
    return {statement(file, node.lineno).first: node for node in ast.walk(tree) if isinstance(node, ast.stmt)}
