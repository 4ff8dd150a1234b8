"""The engine "torch" of engines.py: the cases' networks, optimizers and augmentation in PyTorch,
channels-last, eager or by torch.compile. Images lie ready as floats, shuffled each pass."""

import contextlib

import torch
from torch import nn

from cifar_lab import data, ladder


def fit_of(rung, data_dir, options):
    """images -> one pass over so many train images, of a rung's network, its metrics counted."""
    recipe = ladder.get(rung).recipe
    if "threads" in options:
        torch.set_num_threads(options["threads"])
    dataset = data.load("cifar10", data_dir)
    images = torch.from_numpy(dataset.train_images).permute(0, 3, 1, 2).float().div(255)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(dataset.train_labels).long()
    net = network(rung).to(memory_format=torch.channels_last)
    assert parameters(net) == ladder.get(rung).parameters
    optimizers = optimizers_of(net, recipe)
    augmented = augmentation(recipe.augmentation)
    loss_function = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    model = torch.compile(net) if options["compile"] == "1" else net

    def precision():
        if options["precision"] == "float32":
            return contextlib.nullcontext()
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def fit(count):
        model.train()
        total = correct = 0.0
        order = torch.randperm(count)
        for chosen in order.split(options["batch"]):
            batch = augmented(images[chosen].contiguous(memory_format=torch.channels_last))
            with precision():
                logits = model(batch)
            loss = loss_function(logits.float(), labels[chosen])
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            total += float(loss.detach()) * len(chosen)
            correct += int((logits.argmax(1) == labels[chosen]).sum())

    return fit


# --- networks ------------------------------------------------------------------------------------


def network(rung):
    """A rung's network with first weights: float32 (N, 3, 32, 32) in 0-1 -> logits (N, 10)."""
    settings = ladder.get(rung).recipe.builder_options
    if rung == "cifar10-74":
        return nn.Sequential(
            nn.Conv2d(3, 32, 3),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(7 * 7 * 64, 512),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(512, 10),
        )
    if rung in ("cifar10-90", "cifar10-94"):
        return Airbench(**settings)
    parts, before = [], 3
    for filters, dropout in zip((32, 64, 128), settings["dropout"]):
        for channels in (before, filters):
            parts += [
                nn.Conv2d(channels, filters, 3, padding=1, bias=False),
                nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01),
                nn.ReLU(),
            ]
        parts += [nn.MaxPool2d(2), nn.Dropout(dropout)]
        before = filters
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(4 * 4 * 128, 10))


class Airbench(nn.Module):
    """models.airbench; the arguments are its own."""

    def __init__(self, widths, activation, convolutions=2, residual=False):
        super().__init__()
        self.act = {"relu": nn.ReLU, "silu": nn.SiLU}[activation]()
        self.residual = residual
        self.whiten = nn.Conv2d(3, 24, 2).requires_grad_(False)
        self.stages, before = nn.ModuleList(), 24
        for width in widths:
            stage = nn.ModuleList()
            for i in range(convolutions):
                normalisation = nn.BatchNorm2d(width, eps=1e-5, momentum=0.4)
                normalisation.weight.requires_grad_(False)
                pooling = nn.MaxPool2d(2) if i == 0 else nn.Identity()
                convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
                stage.append(nn.Sequential(convolution, pooling, normalisation))
                before = width
            self.stages.append(stage)
        self.output = nn.Linear(before, 10, bias=False)

    def forward(self, x):
        x = self.act(self.whiten(x))
        for first, *others in self.stages:
            kept = x = self.act(first(x))
            for layer in others[:-1]:
                x = self.act(layer(x))
            x = others[-1](x)
            x = self.act(x + kept if self.residual else x)
        return self.output(x.amax((2, 3))) / 9


def parameters(net):
    """Parameters as Keras counts them: with a normalisation's statistics, without a scale that does
    not learn."""
    fixed = [m.weight for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    fixed = {id(weight) for weight in fixed if not weight.requires_grad}
    counted = sum(p.numel() for p in net.parameters() if id(p) not in fixed)
    return counted + sum(b.numel() for b in net.buffers() if b.dim())


# --- optimizers ----------------------------------------------------------------------------------


def optimizers_of(net, recipe):
    """The optimizers of a recipe, at its rate; a schedule costs nothing."""
    learning = [p for p in net.parameters() if p.requires_grad]
    kernels = [p for p in learning if p.dim() == 4]
    mine = {id(p) for p in kernels}
    others = [p for p in learning if id(p) not in mine]
    if recipe.optimizer == "adam":
        # its weight decay is the gradient of l2 * sum(weight ** 2)
        l2 = recipe.builder_options.get("l2", 0.0)
        groups = [{"params": kernels, "weight_decay": 2 * l2}, {"params": others}]
        return [torch.optim.Adam(groups, lr=1e-3, eps=1e-7, fused=True)]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    decayed = [p for p in learning if p.dim() > 1]
    biases = [p for p in learning if p.dim() == 1]
    muon = []
    if recipe.optimizer == "muon":
        decayed = [p for p in decayed if p.dim() == 2]
        muon = [Muon(kernels, recipe.kernel_rate, recipe.momentum)]
    groups = [
        {"params": decayed, "weight_decay": decay},
        {"params": biases, "lr": rate * recipe.bias_rate_factor},
    ]
    sgd = torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=True, fused=True)
    return [sgd, *muon]


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose steps are brought near an orthogonal matrix by three
    Newton-Schulz iterations in bfloat16, as the rung's; PyTorch's own takes matrices alone."""

    def __init__(self, kernels, rate, momentum):
        super().__init__(kernels, {"lr": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for kernel in group["params"]:
                state = self.state[kernel]
                moment = state.setdefault("moment", torch.zeros_like(kernel))
                moment.mul_(group["momentum"]).add_(kernel.grad)
                step = orthogonal(kernel.grad.add(moment, alpha=group["momentum"]).flatten(1))
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                kernel.add_(step.view_as(kernel), alpha=-group["lr"])


def orthogonal(matrix):
    """(rows, columns) -> the same, with singular values of about 1, float32."""
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    flipped = x.shape[0] > x.shape[1]
    x = x.T if flipped else x
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.T if flipped else x).float()


# --- augmentation --------------------------------------------------------------------------------


def augmentation(settings):
    """float32 (N, 3, height, width) -> the same, augmented as a recipe's Augmentation says; as they
    are where it says nothing."""
    if settings.rotation_range or settings.width_shift_range:
        return lambda images: turned(images, settings)
    if settings.crop_padding or settings.cutout_size or settings.alternating_flip:
        return lambda images: cropped(images, settings)
    return lambda images: images


def turned(images, settings):
    """Rotated, shifted and mirrored; bilinear, the border's pixels go on."""
    count = len(images)
    angle = (2 * torch.rand(count) - 1) * settings.rotation_range * torch.pi / 180
    mirror = torch.ones(count)
    if settings.horizontal_flip:
        mirror -= 2 * (torch.rand(count) < 0.5).float()
    x, y = (
        2 * (2 * torch.rand(count) - 1) * share
        for share in (settings.width_shift_range, settings.height_shift_range)
    )
    rows = (
        torch.stack([angle.cos() * mirror, -angle.sin(), x], 1),
        torch.stack([angle.sin() * mirror, angle.cos(), y], 1),
    )
    grid = nn.functional.affine_grid(torch.stack(rows, 1), images.shape, align_corners=False)
    moved = nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)


def cropped(images, settings):
    """Half of them mirrored, moved within a reflected border, a square of grey cut out."""
    count, _, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1)
    if settings.alternating_flip:
        mirrored = torch.rand(count) < 0.5
        pixels = torch.where(mirrored.view(-1, 1, 1, 1), pixels.flip(2), pixels)
    most = settings.crop_padding
    if most:
        padded = nn.functional.pad(pixels.permute(0, 3, 1, 2), (most,) * 4, "reflect")
        top, left = (torch.randint(0, 2 * most + 1, (count, 1)) for _ in range(2))
        rows, columns = top + torch.arange(height), left + torch.arange(width)
        picked = torch.arange(count).view(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)
        pixels = padded.permute(0, 2, 3, 1)[picked]
    side = settings.cutout_size
    if side:
        centre_y, centre_x = (torch.randint(0, length, (count, 1)) for length in (height, width))
        down = (torch.arange(height) - centre_y + side // 2).unsqueeze(2)
        across = (torch.arange(width) - centre_x + side // 2).unsqueeze(1)
        cut = (0 <= down) & (down < side) & (0 <= across) & (across < side)
        pixels = pixels.masked_fill(cut.unsqueeze(3), 0.5)
    return pixels.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
